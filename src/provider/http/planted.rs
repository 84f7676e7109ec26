//! Answers that fuzz targets put in the place of the network, so that whatever a server may say goes the same way through
//! clients, parsers and classifiers as what comes over a wire.

use std::{cell::RefCell, collections::VecDeque};

use super::{Answer, CallError, CloudError, ErrorClass};

thread_local! {
    static ANSWERS: RefCell<Option<VecDeque<Answer>>> = const { RefCell::new(None) };
}

/// The next calls of this thread are answered so, and those after them not at all. Nothing is sent any more.
pub fn plant(answers: impl IntoIterator<Item = Answer>) {
    ANSWERS.set(Some(answers.into_iter().collect()));
}

/// The answer to a call, bounded as one from the network; `None` where nothing was planted.
pub(super) fn next(limit: usize) -> Option<Result<Answer, CallError>> {
    ANSWERS.with_borrow_mut(|answers| {
        let answer = answers.as_mut()?.pop_front().filter(|answer| answer.body.len() <= limit);
        let broken = || CallError::Unknown(CloudError::new(ErrorClass::Unavailable, "no answer was planted"));
        Some(answer.ok_or_else(broken))
    })
}
