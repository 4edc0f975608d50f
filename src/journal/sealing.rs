//! The thread that seals the log, about once a second, beside all calls.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use std::{fmt, io};

use super::sealer::{SealError, Sealer};
use crate::config::Audit;
use crate::model::time::Timestamp;
use crate::runtime::clock;

/// How often the log is sealed.
const PAUSE: Duration = Duration::from_secs(1);
/// How long it is left alone where it cannot be sealed: the next try may have to read all of it.
const RETRY: Duration = Duration::from_secs(10);
/// How often a checkpoint is kept in the history.
const KEPT: Duration = Duration::from_mins(1);

/// The sealing of a log that is written.
pub struct Sealing {
    progress: Arc<Progress>,
    stop: Sender<()>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// How far sealing has come.
#[derive(Debug, Default)]
struct Progress {
    size: AtomicU64,
    /// When the latest checkpoint was published, in seconds.
    at: AtomicU64,
    failure: Mutex<Option<Box<str>>>,
}

/// How far the log is sealed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sealed {
    /// The records of the latest checkpoint.
    pub size: u64,
    /// When it was published; zero where none was in this process.
    pub at: Timestamp,
    /// Why the log could not be sealed when it was last tried.
    pub failure: Option<Box<str>>,
}

/// Which log, and what of it is durable.
struct Log {
    directory: PathBuf,
    key: Option<PathBuf>,
    name: Box<str>,
    durable: Arc<AtomicU64>,
}

impl Sealing {
    /// Goes on where `sealer` stands, and seals what `durable` says is on the disk.
    pub fn start(audit: &Audit, sealer: Sealer, durable: &Arc<AtomicU64>) -> io::Result<Self> {
        let progress = Arc::new(Progress::default());
        progress.size.store(sealer.size(), Ordering::Relaxed);
        let log = Log {
            directory: audit.directory.clone(),
            key: audit.signing_key.clone(),
            name: audit.name.clone(),
            durable: Arc::clone(durable),
        };
        let (stop, stopped) = mpsc::channel();
        let told = Arc::clone(&progress);
        let thread = std::thread::Builder::new().name("sealer".into()).spawn(move || {
            let (mut sealer, mut kept, mut closing) = (Some(sealer), None, false);
            loop {
                let is_due = kept.is_none_or(|kept: Instant| kept.elapsed() >= KEPT);
                let keep = closing || is_due;
                let size = told.size.load(Ordering::Relaxed);
                sealer = told.tell(log.seal(sealer, keep));
                if keep && told.size.load(Ordering::Relaxed) > size {
                    kept = Some(clock::instant());
                }
                if closing {
                    return;
                }
                let pause = if sealer.is_some() { PAUSE } else { RETRY };
                closing = stopped.recv_timeout(pause) != Err(RecvTimeoutError::Timeout);
            }
        })?;
        Ok(Self { progress, stop, thread: Mutex::new(Some(thread)) })
    }

    /// How far it has come.
    pub fn sealed(&self) -> Sealed {
        let Progress { size, at, failure } = &*self.progress;
        Sealed {
            size: size.load(Ordering::Relaxed),
            at: Timestamp::from_seconds(at.load(Ordering::Relaxed)),
            failure: failure.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }

    /// Seals what is durable, and ends.
    pub fn close(&self) {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // Where the thread has ended early, there is nobody to tell.
            self.stop.send(()).unwrap_or(());
            if thread.join().is_err() {
                tracing::error!("the sealing of the audit log ended early");
            }
        }
    }
}

impl fmt::Debug for Sealing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealing({:?})", self.progress)
    }
}

impl Log {
    /// After a failure the tree is opened anew: what was written of it then is not known.
    fn seal(&self, sealer: Option<Sealer>, keep: bool) -> Result<Sealer, SealError> {
        let until = self.durable.load(Ordering::Acquire);
        let mut sealer = match sealer {
            Some(sealer) => sealer,
            None => Sealer::open(
                &self.directory,
                self.key.as_deref(),
                (&self.name, clock::now()),
                until,
            )?,
        };
        sealer.seal(until, keep)?;
        Ok(sealer)
    }
}

impl Progress {
    /// Keeps what came of it.
    fn tell(&self, sealed: Result<Sealer, SealError>) -> Option<Sealer> {
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        match sealed {
            Ok(sealer) => {
                *failure = None;
                if self.size.swap(sealer.size(), Ordering::Relaxed) < sealer.size() {
                    self.at.store(clock::now().seconds(), Ordering::Relaxed);
                }
                Some(sealer)
            }
            Err(error) => {
                let error = format!("{:#}", anyhow::Error::from(error));
                tracing::error!(%error, "the audit log cannot be sealed; it is written all the same");
                *failure = Some(error.into());
                None
            }
        }
    }
}
