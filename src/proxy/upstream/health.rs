//! The work that goes on beside the calls: active checks of each address, and closing what lies
//! unused.

use std::sync::Arc;
use std::time::Duration;

use http::Request;
use tokio::task::JoinSet;

use super::Upstream;
use super::connect::Sender;
use super::target::Target;
use crate::config::Health;
use crate::proxy::body::RequestBody;
use crate::runtime::clock;

/// The tasks of an upstream; they end when this is dropped.
#[derive(Debug)]
#[must_use = "the upstream is watched for as long as this is kept"]
pub struct Watching {
    _tasks: JoinSet<()>,
}

impl Upstream {
    /// Begins the checks of `health`, when there are any, and the closing of unused connections.
    pub fn watch(self: &Arc<Self>) -> Watching {
        let mut tasks = JoinSet::new();
        if let Some(health) = &self.config.health {
            for target in &self.targets {
                tasks.spawn(check(Arc::clone(target), health.clone()));
            }
        }
        tasks.spawn(sweep(Arc::clone(self)));
        Watching { _tasks: tasks }
    }
}

async fn sweep(upstream: Arc<Upstream>) {
    let config = &upstream.config;
    let every = (config.idle_timeout.min(config.max_age) / 2).max(Duration::from_secs(1));
    loop {
        tokio::time::sleep(every).await;
        for target in &upstream.targets {
            target.pool.sweep(clock::instant());
        }
    }
}

async fn check(target: Arc<Target>, health: Health) {
    loop {
        let fit =
            matches!(tokio::time::timeout(health.timeout, ask(&target, &health)).await, Ok(true));
        target.pool.fitness.checked(fit, clock::instant());
        tokio::time::sleep(health.interval).await;
    }
}

/// Asks on a connection of its own, so that a check also shows that connections can be made, and
/// takes no place from calls.
async fn ask(target: &Target, health: &Health) -> bool {
    let mut request = Request::new(RequestBody::Empty);
    if target.address(&mut request, &health.path).is_err() {
        return false;
    }
    let response = match target.pool.dialer().connect(&Arc::default()).await {
        Ok(Sender::H1(mut sender)) => sender.send_request(request).await,
        Ok(Sender::H2(mut sender, _)) => sender.send_request(request).await,
        Err(_unreachable) => return false,
    };
    response.is_ok_and(|response| response.status().as_u16() < 400)
}
