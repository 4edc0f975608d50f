//! A clock for the engine that counts work instead of time.
//!
//! The engine asks its clock after every few steps and gives up when the time is over. Its own clock would
//! count time in which the thread did not run, and one policy would end differently on a busy machine. Ours
//! advances by the steps, so a budget is a number of steps; and it jumps by ages where the world outside has
//! asked to stop.

use std::cell::RefCell;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use regorus::utils::limits::{ExecutionTimerConfig, TimeSource, set_time_source};

/// The steps between two looks at the clock.
const STRIDE: NonZeroU32 = match NonZeroU32::new(32) {
    Some(steps) => steps,
    None => NonZeroU32::MIN,
};

/// Longer than any budget: 2^64 steps are as many nanoseconds.
const AGE: Duration = Duration::from_secs(1 << 36);

#[derive(Debug, Default)]
struct Account {
    steps: u64,
    stop: Option<Arc<AtomicBool>>,
    /// How often the engine has looked since it was told to stop.
    stopped: u32,
}

thread_local! {
    /// The evaluation that runs on this thread. Owned by [`measured`].
    static ACCOUNT: RefCell<Account> = RefCell::default();
}

struct Steps;

impl TimeSource for Steps {
    fn now(&self) -> Option<Duration> {
        Some(ACCOUNT.with_borrow_mut(|account| {
            account.steps = account.steps.saturating_add(u64::from(STRIDE.get()));
            if account.stopped > 0
                || account.stop.as_ref().is_some_and(|stop| stop.load(Ordering::Relaxed))
            {
                account.stopped = account.stopped.saturating_add(1);
            }
            // An age with each look: the engine measures from its first look, and that may come after the stop.
            Duration::from_nanos(account.steps).saturating_add(AGE.saturating_mul(account.stopped))
        }))
    }
}

/// Charges the evaluation that runs on this thread for work that the engine does not count.
pub(super) fn charge(steps: usize) {
    let steps = u64::try_from(steps).unwrap_or(u64::MAX);
    ACCOUNT.with_borrow_mut(|account| account.steps = account.steps.saturating_add(steps));
}

/// Whether the engine runs by our clock. It takes one clock in the life of a process.
static INSTALLED: LazyLock<bool> = LazyLock::new(|| set_time_source(&Steps).is_ok());

/// What was spent while something ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Spent {
    /// The steps, rounded up to the stride of the clock.
    pub(super) steps: u64,
    /// Whether it was told to stop.
    pub(super) stopped: bool,
}

/// The setting of the engine's clock under which a budget of `steps` holds. None where the engine does not
/// run by our clock: nothing may be evaluated then.
pub(super) fn budget(steps: u64) -> Option<ExecutionTimerConfig> {
    INSTALLED.then_some(ExecutionTimerConfig {
        limit: Duration::from_nanos(steps),
        check_interval: STRIDE,
    })
}

/// Runs `work` on an account of its own.
pub(super) fn measured<T>(stop: Option<&Arc<AtomicBool>>, work: impl FnOnce() -> T) -> (T, Spent) {
    ACCOUNT.set(Account { stop: stop.cloned(), ..Account::default() });
    let result = work();
    let account = ACCOUNT.take();
    (result, Spent { steps: account.steps, stopped: account.stopped > 0 })
}
