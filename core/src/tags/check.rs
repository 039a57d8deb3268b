//! Looking whether another process has invalidated a tag.

use std::sync::Arc;

use super::tokens::{read, Token};
use super::Tag;
use crate::clock;
use crate::fork;
use crate::instance::Instance;

/// Compares tokens with those of the backends that may have been changed by other processes: of tags that
/// are due, or with `now` of all. One that has another token has been invalidated. May block.
///
/// A backend that cannot be asked says nothing: its tags are asked again after the interval. With `now` that
/// is not enough, and they end.
pub fn check(tags: &[Arc<Tag>], now: bool) {
    let moment = clock::monotonic();
    let mut questions: Vec<Question<'_>> = Vec::new();
    for tag in tags.iter().filter(|tag| now || !tag.is_good(moment)) {
        for (instance, token) in tag.sources() {
            let number = instance.number();
            let index = questions.iter().position(|question| question.instance.number() == number);
            let index = index.unwrap_or_else(|| {
                questions.push(Question { instance, asked: Vec::new() });
                questions.len() - 1
            });
            questions[index].asked.push((tag, token));
        }
    }
    for Question { instance, asked } in questions {
        let keys: Vec<&[u8]> = asked.iter().map(|(tag, _)| tag.key()).collect();
        let found = read(&instance, &keys);
        for (index, (tag, expected)) in asked.into_iter().enumerate() {
            match found.as_ref().map(|found| found[index]) {
                // What could not be asked before may have been invalidated since.
                Ok(token) if token.is_some() && token == expected => {
                    tag.learn(&instance, token, moment);
                }
                Err(_) if !now => {
                    tag.learn(&instance, None, moment);
                }
                _ => tag.die(),
            }
        }
    }
}

struct Question<'a> {
    instance: Arc<Instance>,
    asked: Vec<(&'a Arc<Tag>, Option<Token>)>,
}

impl Tag {
    /// Backends that are still open, each with the token that it had.
    fn sources(&self) -> Vec<(Arc<Instance>, Option<Token>)> {
        let _gate = fork::enter();
        let mut sources = self.sources.lock();
        sources.retain(|source| source.instance.strong_count() > 0);
        self.renew(&sources);
        let open = |source: &super::Source| Some((source.instance.upgrade()?, source.token));
        sources.iter().filter_map(open).collect()
    }
}
