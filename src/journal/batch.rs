//! Who waits for the same sync, waits together.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// What was taken from the queue at one time, and those who wait for it.
///
/// The thread that resolves it wakes one of them, who wakes the others from within the runtime: to
/// wake a task from another thread is a system call each time, and to wake it from a task is none.
pub(super) struct Batch {
    state: AtomicU8,
    waiting: Mutex<Vec<Option<Waker>>>,
}

const PENDING: u8 = 0;
/// Every record of it is kept.
pub(super) const DURABLE: u8 = 1;
/// None of it can be relied on.
pub(super) const FAILED: u8 = 2;

impl Batch {
    pub(super) const fn new() -> Self {
        Self { state: AtomicU8::new(PENDING), waiting: Mutex::new(Vec::new()) }
    }

    pub(super) fn resolve(&self, state: u8) {
        let mut waiting = self.waiting();
        // Stored under the lock, so that nobody registers after this and is forgotten.
        self.state.store(state, Ordering::Release);
        let first = waiting.iter_mut().find_map(Option::take);
        drop(waiting);
        if let Some(first) = first {
            first.wake();
        }
    }

    /// The state, as soon as it is [`DURABLE`] or [`FAILED`].
    pub(super) const fn wait(&self) -> Wait<'_> {
        Wait { batch: self, place: None }
    }

    fn resolved(&self) -> Option<u8> {
        Some(self.state.load(Ordering::Acquire)).filter(|state| *state != PENDING)
    }

    fn wake_others(&self) {
        let others = std::mem::take(&mut *self.waiting());
        others.into_iter().flatten().for_each(Waker::wake);
    }

    /// Each change to the list is one step, so a panic elsewhere leaves it whole.
    fn waiting(&self) -> MutexGuard<'_, Vec<Option<Waker>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One who waits.
pub(super) struct Wait<'a> {
    batch: &'a Batch,
    place: Option<usize>,
}

impl Future for Wait<'_> {
    type Output = u8;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<u8> {
        let batch = self.batch;
        let mut waiting = batch.waiting();
        if let Some(state) = batch.resolved() {
            drop(waiting);
            batch.wake_others();
            return Poll::Ready(state);
        }
        let waker = Some(cx.waker().clone());
        if let Some(place) = self.place.and_then(|place| waiting.get_mut(place)) {
            *place = waker;
        } else {
            self.place = Some(waiting.len());
            waiting.push(waker);
        }
        Poll::Pending
    }
}

/// Whoever goes away may have been the one that was woken, and passes it on.
impl Drop for Wait<'_> {
    fn drop(&mut self) {
        if let Some(place) = self.place
            && let Some(waker) = self.batch.waiting().get_mut(place)
        {
            *waker = None;
        }
        if self.batch.resolved().is_some() {
            self.batch.wake_others();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;

    const PATIENT: Duration = Duration::from_secs(5);

    /// Waits with others, of whom the first leaves before, at or after the end.
    async fn round(pause: Duration) {
        let batch = Arc::new(Batch::new());
        let wait = |patience: Duration| {
            let batch = Arc::clone(&batch);
            tokio::spawn(async move { tokio::time::timeout(patience, batch.wait()).await })
        };
        let leaving = wait(Duration::from_micros(60));
        let others: Vec<_> = (0..7).map(|_| wait(PATIENT)).collect();
        tokio::time::sleep(pause).await;
        let resolver = Arc::clone(&batch);
        std::thread::spawn(move || resolver.resolve(DURABLE)).join().unwrap();
        for other in others {
            assert_eq!(other.await.unwrap(), Ok(DURABLE), "{pause:?}");
        }
        drop(leaving.await.unwrap());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn everybody_hears_of_the_end_whoever_leaves_before() {
        for pause in 0..200 {
            round(Duration::from_micros(pause * 10)).await;
        }
    }

    #[tokio::test]
    async fn who_comes_after_the_end_does_not_wait() {
        let batch = Batch::new();
        batch.resolve(FAILED);
        assert_eq!(batch.wait().await, FAILED);
    }
}
