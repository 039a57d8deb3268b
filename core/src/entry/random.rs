//! Where salts and nonces come from.

use ring::rand::{SecureRandom, SystemRandom};

use crate::error::{Error, ErrorKind, Result};

/// Random bytes that nobody can guess or repeat.
///
/// # Errors
/// When the system has none to give.
pub(crate) fn token() -> Result<[u8; 16]> {
    let mut token = [0; 16];
    Random::system().fill(&mut token)?;
    Ok(token)
}

/// The system's random bytes. They are asked for each time and kept nowhere, so no fork gives two
/// entries the same ones; nor does a copy of a virtual machine whose kernel learns that it is one.
pub(super) struct Random {
    system: SystemRandom,
    /// Bytes that count up from zero instead, for entries that are the same every time.
    #[cfg(test)]
    counting: bool,
}

impl Random {
    /// The system's.
    pub fn system() -> Self {
        Random {
            system: SystemRandom::new(),
            #[cfg(test)]
            counting: false,
        }
    }

    /// 0, 1, 2 and so on.
    #[cfg(test)]
    pub fn counting() -> Self {
        Random { counting: true, ..Self::system() }
    }

    /// Fills `bytes`.
    ///
    /// # Errors
    /// When the system has none to give.
    pub fn fill(&self, bytes: &mut [u8]) -> Result<()> {
        #[cfg(test)]
        if self.counting {
            (0..).zip(bytes).for_each(|(number, byte)| *byte = number);
            return Ok(());
        }
        self.system
            .fill(bytes)
            .map_err(|_| Error::new(ErrorKind::Retryable, "seal", "the system gave no random bytes"))
    }
}
