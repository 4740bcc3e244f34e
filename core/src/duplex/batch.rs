//! The answers of a batch: one array, when the last of them is there.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// A batch whose answers are being gathered.
pub(super) struct Batch {
    /// The array, without its end.
    answers: RefCell<Vec<u8>>,
    /// Calls that still go on, and one for the batch itself until all of it was read.
    open: Cell<usize>,
}

impl Batch {
    pub(super) fn open() -> Rc<Self> {
        Rc::new(Self {
            answers: RefCell::default(),
            open: Cell::new(1),
        })
    }

    /// One of its calls goes on, and will be closed.
    pub(super) fn enter(&self) {
        self.open.set(self.open.get() + 1);
    }

    /// Adds an answer; nothing when it is empty.
    pub(super) fn add(&self, answer: &[u8]) {
        if !answer.is_empty() {
            let mut answers = self.answers.borrow_mut();
            let before = if answers.is_empty() { b'[' } else { b',' };
            answers.push(before);
            answers.extend_from_slice(answer);
        }
    }

    /// A call has ended, or all was read; the whole array, if that was the last and there is one.
    pub(super) fn close(&self) -> Option<Vec<u8>> {
        self.open.set(self.open.get().saturating_sub(1));
        let mut answers = self.answers.borrow_mut();
        if self.open.get() > 0 || answers.is_empty() {
            return None;
        }
        answers.push(b']');
        Some(std::mem::take(&mut answers))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_array_comes_with_the_last_answer_and_not_without_one() {
        let batch = Batch::open();
        batch.enter();
        batch.add(b"1");
        batch.add(b"");
        assert_eq!(batch.close(), None);
        batch.add(b"2");
        assert_eq!(batch.close(), Some(b"[1,2]".to_vec()));
        assert_eq!(Batch::open().close(), None);
    }
}
