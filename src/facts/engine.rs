//! Where the policy engines work when it takes long: on a few threads of their own, never on those that
//! serve (`policy.md` §5, R-POL-007).
//!
//! A policy that ends within [`Limits::QUICK`] steps is evaluated where the request is; that is nearly all of them,
//! and a thread hop would cost more than they do. What needs more, and every compilation, comes here. When
//! all rooms are taken a request waits its turn, within its time, and is refused when that ends: policies
//! that run on can only hold up each other.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::policy::cache::{Compiled, Policies};
use crate::policy::engine::{Evaluation, Failure, Input, Limits, Policy, Written};

/// How long a request waits for one policy (§5). The steps end a policy before, on a machine that is not
/// overloaded.
const PATIENCE: Duration = Duration::from_millis(50);
/// How long a request waits for a compilation.
const COMPILATION: Duration = Duration::from_secs(1);
/// How many work at once. More would only take the processors from those that serve.
const ROOMS: usize = 2;

/// The rooms, and what was compiled in them.
#[derive(Clone, Debug)]
pub struct Engines {
    policies: Arc<Policies>,
    rooms: Arc<Semaphore>,
}

impl Engines {
    /// Rooms whose compiled policies are kept in `policies`.
    pub fn new(policies: Arc<Policies>) -> Self {
        Self { policies, rooms: Arc::new(Semaphore::new(ROOMS)) }
    }

    /// What becomes of `text`. None when it took too long: the work goes on, and who asks again later
    /// finds it done.
    pub async fn compiled(&self, text: Written) -> Option<Compiled> {
        if let Some(known) = self.policies.known(&text.source().key()) {
            return Some(known);
        }
        let policies = Arc::clone(&self.policies);
        self.work(COMPILATION, move || policies.compiled(&text.source())).await
    }

    /// Asks `policy` about `input` in a room, because the decision itself could not (`decide::consult`).
    pub async fn evaluate(&self, policy: &Arc<Policy>, input: &Input) -> Evaluation {
        let stop = Arc::new(AtomicBool::new(false));
        let (policy, input, told) = (Arc::clone(policy), input.clone(), Arc::clone(&stop));
        let whole =
            move || policy.evaluate(&input, &Limits { steps: Limits::STEPS, stop: Some(&told) });
        let stopped = Stop(stop);
        let evaluation = self.work(PATIENCE, whole).await;
        drop(stopped);
        evaluation.unwrap_or(Evaluation { outcome: Err(Failure::Timeout), steps: 0, fault: None })
    }

    /// Runs `work` in a room, and waits for it as long as `patience` lasts.
    async fn work<T: Send + 'static>(
        &self,
        patience: Duration,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let rooms = Arc::clone(&self.rooms);
        let attempt = async move {
            let room: OwnedSemaphorePermit = rooms.acquire_owned().await.ok()?;
            spawn_blocking(move || {
                let result = work();
                drop(room);
                result
            })
            .await
            .ok()
        };
        timeout(patience, attempt).await.ok().flatten()
    }
}

/// Ends the evaluation when nobody waits for it any longer, also when the request itself is gone.
struct Stop(Arc<AtomicBool>);

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::policy::engine::{Class, Language, Verdict};

    fn text(body: &str) -> Written {
        Written {
            language: Language::RegoV1,
            class: Class::Carried,
            entry_point: "allow".into(),
            text: format!("package a\n{body}").into(),
        }
    }

    const ENDLESS: &str = "allow if count([1 | some i in input.a; some j in input.a; some k in input.a; some l in input.a; i + j + k > l + 5000]) > 3";

    #[tokio::test]
    async fn pol_007_policies_that_run_on_hold_up_only_each_other() {
        let engines = Engines::new(Arc::new(Policies::new(16)));
        let endless = engines.compiled(text(ENDLESS)).await.unwrap().unwrap();
        let quick = engines.compiled(text("allow if input.a")).await.unwrap().unwrap();
        let input = Input::new(json!({ "a": (0..200).collect::<Vec<_>>() }));
        let running: Vec<_> = (0..16)
            .map(|_| {
                let (engines, endless, input) =
                    (engines.clone(), Arc::clone(&endless), input.clone());
                tokio::spawn(async move { engines.evaluate(&endless, &input).await.outcome })
            })
            .collect();
        for _ in 0..100 {
            tokio::task::yield_now().await;
            let limits = Limits { steps: Limits::QUICK, stop: None };
            assert_eq!(quick.evaluate(&input, &limits).outcome, Ok(Verdict::True));
        }
        for outcome in running {
            assert!(matches!(outcome.await.unwrap(), Err(Failure::Budget | Failure::Timeout)));
        }
    }

    #[tokio::test]
    async fn pol_025_one_text_is_compiled_once() {
        let engines = Engines::new(Arc::new(Policies::new(16)));
        let first = engines.compiled(text("allow := true")).await.unwrap().unwrap();
        for _ in 0..10_000 {
            let again = engines.compiled(text("allow := true")).await.unwrap().unwrap();
            assert!(Arc::ptr_eq(&first, &again));
        }
        let refused = engines.compiled(text("allow if allow")).await.unwrap().unwrap_err();
        let again = engines.compiled(text("allow if allow")).await.unwrap().unwrap_err();
        assert!(Arc::ptr_eq(&refused, &again));
    }

    #[tokio::test]
    async fn what_needs_more_steps_than_a_serving_thread_grants_gets_them() {
        let engines = Engines::new(Arc::new(Policies::new(16)));
        let long = engines.compiled(text(
            "allow if count([1 | some i in input.a; some j in input.a; i > j]) == 4950",
        ));
        let long = long.await.unwrap().unwrap();
        let input = Input::new(json!({ "a": (0..100).collect::<Vec<_>>() }));
        let evaluation = engines.evaluate(&long, &input).await;
        match evaluation.outcome {
            Ok(Verdict::True) => {
                assert!(evaluation.steps > Limits::QUICK, "{}", evaluation.steps);
            }
            // A machine that is busy with other things may not come to it in time.
            Err(Failure::Timeout) => {}
            other => panic!("{other:?}"),
        }
    }
}
