//! Calls on leases.

use super::call::Done;
use super::fault::Result;
use super::Session;
use crate::abi::call::{Lease, Token};
use crate::abi::status;
use crate::abi::value::Slice;

impl Session {
    pub(crate) fn lease_acquire(&self, name: &[u8], ttl: i64) -> Result<Option<Lease>> {
        let mut lease = Lease { holder: Token::default(), fence: 0 };
        let acquire = self.table.lease_acquire.expect("`lease_acquire` is there");
        // SAFETY: as in `get`.
        let Done(status, completion) = self.call("lease_acquire", |call| unsafe {
            acquire(self.instance, call, Slice::new(name), ttl, &mut lease)
        })?;
        if !self.yes("lease_acquire", status, status::CONFLICT)? {
            return Ok(None);
        }
        match completion {
            None => Ok(Some(lease)),
            Some(completion) => match completion.items.first() {
                Some(item) => Ok(Some(Lease { holder: item.3, fence: completion.number as u64 })),
                None => Err(self.broken("lease_acquire", "was completed without a holder")),
            },
        }
    }

    pub(crate) fn lease_renew(&self, name: &[u8], ttl: i64, lease: &Lease) -> Result<bool> {
        let renew = self.table.lease_renew.expect("`lease_renew` is there");
        // SAFETY: as in `get`.
        let Done(status, _) = self.call("lease_renew", |call| unsafe {
            renew(self.instance, call, Slice::new(name), ttl, lease)
        })?;
        self.yes("lease_renew", status, status::CONFLICT)
    }

    pub(crate) fn lease_release(&self, name: &[u8], lease: &Lease) -> Result<bool> {
        let release = self.table.lease_release.expect("`lease_release` is there");
        // SAFETY: as in `get`.
        let Done(status, _) = self
            .call("lease_release", |call| unsafe { release(self.instance, call, Slice::new(name), lease) })?;
        self.yes("lease_release", status, status::CONFLICT)
    }
}
