//! The writer: records in, receipts out. One thread owns the tail of the log.
//!
//! Callers serialize their records themselves and put them into one bounded queue under a short lock,
//! which is where `seq` and `ts` are given. The thread takes everything that is queued, writes it with
//! one `write` and makes it durable with one `fdatasync`, whoever waits (group commit). After a failed
//! write or sync it never tries again: the kernel may have dropped the pages and would report success.

use std::fs::File;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use std::{fmt, io};

use super::batch::{Batch, DURABLE, FAILED};
use super::disk::{Disk, Files};
use super::queue::{Queue, Work};
use super::recovery::{self, OpenError, Recovered};
use super::sealer::Sealer;
use super::sealing::{Sealed, Sealing};
use super::tail::Tail;
use crate::audit::record::{Body, Discretion, Effect, Ending, Gap, Kept, Outcome, Start, Stop};
use crate::audit::tag::{Tag, Tagger};
use crate::config::{Audit, Durability};
use crate::model::reason::Reason;
use crate::model::time::Timestamp;
use crate::runtime::clock;

/// Lines are written at the latest when so many bytes are queued: enough that waking the thread costs
/// a call next to nothing.
const FULL: usize = 256 * 1_024;
/// Records that nobody waits for may fill the queue this many times over before they are counted
/// instead of kept: an outcome is worth more than a refusal to begin another call.
const NOTES: usize = 2;
/// With so many records in one sync there are several callers, and more of them can share the next.
const COMPANY: usize = 4;
/// The longest pause between two syncs.
const MAX_PAUSE: Duration = Duration::from_micros(500);

/// A handle to the log. Cheap to clone.
#[derive(Clone)]
pub struct Journal(Arc<Shared>);

/// The proof that a record is kept as well as the configured durability promises. Only the journal
/// makes one.
#[derive(Debug, PartialEq, Eq)]
pub struct Receipt {
    seq: u64,
}

impl Receipt {
    /// The number of the record in its log.
    pub const fn seq(&self) -> u64 {
        self.seq
    }
}

/// Why a record was not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// Too many records wait for the disk.
    #[error("too many records wait for the disk")]
    Overloaded,
    /// The log cannot be written, or not in time.
    #[error("the audit log cannot be written")]
    Unavailable,
}

impl AppendError {
    /// What the refusal is called.
    pub const fn reason(self) -> Reason {
        match self {
            Self::Overloaded => Reason::AuditOverloaded,
            Self::Unavailable => Reason::AuditUnavailable,
        }
    }
}

/// Why a record is not in the queue.
enum NotQueued {
    /// There is no room before this batch is written.
    Full(Arc<Batch>),
    /// The log is closed or has failed.
    Unavailable,
}

impl From<NotQueued> for AppendError {
    fn from(error: NotQueued) -> Self {
        match error {
            NotQueued::Full(_) => Self::Overloaded,
            NotQueued::Unavailable => Self::Unavailable,
        }
    }
}

/// Numbers for the metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Records that wait for the disk.
    pub queued: usize,
    /// The number of the next record.
    pub next_seq: u64,
    /// Times that the disk was synced.
    pub syncs: u64,
    /// Records that were counted instead of kept.
    pub lost: u64,
}

struct Shared {
    /// Guarded for the time of a copy; the thread holds it only to take what is queued.
    queue: Mutex<Queue>,
    wake: Condvar,
    /// Taken by [`Journal::close`].
    thread: Mutex<Option<JoinHandle<()>>>,
    kept: Kept,
    name: Box<str>,
    max_wait: Duration,
    interval: Duration,
    max_records: usize,
    max_bytes: usize,
    tagger: Tagger,
    discretion: Discretion,
    /// The records before this one are durable.
    durable: Arc<AtomicU64>,
    /// None where the log is not in files.
    sealing: OnceLock<Sealing>,
}

impl Journal {
    /// Opens the log: locks the directory, recovers what an earlier process left, closes its open
    /// calls as interrupted and writes the `start` record. All of it is durable on return.
    pub fn open(
        config: &Audit,
        tagger: Tagger,
        config_digest: &str,
        now: Timestamp,
    ) -> Result<(Self, Recovered), OpenError> {
        let lock = recovery::lock(&config.directory)?;
        let recovered = recovery::recover(&config.directory)?;
        let io = |source| failed(&config.directory, source);
        let segment = recovered.segment.as_ref().map(|segment| segment.path.as_path());
        if let Some(segment) = segment {
            // What an earlier process left in the kernel's memory is about to be sealed.
            File::open(segment).and_then(|file| file.sync_all()).map_err(io)?;
        }
        let (key, records) = (config.signing_key.as_deref(), recovered.next_seq);
        let sealer = Sealer::open(&config.directory, key, (&config.name, now), records)?;
        let disk = Files::open(&config.directory, segment).map_err(io)?;
        let end = End { disk, lock: Some(lock) };
        let journal =
            Self::start(config, tagger, config_digest, now, &recovered, end).map_err(io)?;
        let sealing = Sealing::start(config, sealer, &journal.0.durable).map_err(io)?;
        journal.0.sealing.get_or_init(|| sealing);
        Ok((journal, recovered))
    }

    fn start(
        config: &Audit,
        tagger: Tagger,
        config_digest: &str,
        now: Timestamp,
        recovered: &Recovered,
        end: End<impl Disk + 'static>,
    ) -> io::Result<Self> {
        let End { disk, lock } = end;
        let kept = match config.durability {
            Durability::Batched => Kept::Batched,
            Durability::Sync => Kept::Sync,
        };
        let shared = Shared {
            queue: Mutex::new(Queue::new(&config.name, recovered)),
            wake: Condvar::new(),
            thread: Mutex::new(None),
            kept,
            name: config.name.clone(),
            max_wait: config.max_wait,
            interval: config.interval,
            max_records: config.queue_records,
            max_bytes: config.queue_bytes,
            tagger,
            discretion: config.discretion,
            durable: Arc::new(AtomicU64::new(recovered.next_seq)),
            sealing: OnceLock::new(),
        };
        let journal = Self(Arc::new(shared));
        journal.begin_epoch(recovered, config_digest, now);
        let mut tail = Tail::new(config, recovered, now, disk, lock);
        // Nothing is served before the epoch has begun on the disk.
        let Work { lines, first_seq, records, batch, .. } = journal.0.queue().take();
        tail.write(&lines, first_seq, now)?;
        if tail.owes_sync {
            tail.sync()?;
        }
        journal.0.durable.store(after(first_seq, records), Ordering::Release);
        batch.resolve(DURABLE);
        let shared = Arc::clone(&journal.0);
        let thread =
            std::thread::Builder::new().name("journal".into()).spawn(move || shared.run(tail))?;
        *lock_of(&journal.0.thread) = Some(thread);
        Ok(journal)
    }

    /// Open calls come before `start`: if the process dies in between, the next one finds them again.
    fn begin_epoch(&self, recovered: &Recovered, config_digest: &str, now: Timestamp) {
        for call in &recovered.open_calls {
            self.note(now, &Outcome::bare(call.seq, &call.id, Ending::Interrupted, None));
        }
        let interrupted = u64::try_from(recovered.open_calls.len()).unwrap_or(u64::MAX);
        if self.0.kept == Kept::Batched && recovered.previous_clean == Some(false) {
            let gap = Gap {
                at_most: None,
                from: recovered.last,
                to: now,
                why: "unclean_end",
                set_aside: None,
            };
            self.note(now, &gap);
        }
        self.note(
            now,
            &Start {
                version: env!("CARGO_PKG_VERSION"),
                config: config_digest,
                kept: self.0.kept,
                sync: "fdatasync",
                previous_clean: recovered.previous_clean,
                lines_cut: recovered.lines_cut,
                bytes_cut: recovered.bytes_cut,
                interrupted,
            },
        );
    }

    /// Writes a record and returns when it is kept as configured: on the disk in `sync`, queued in
    /// `batched`. A record that opens a call is closed again when this fails or is given up.
    pub async fn append(&self, now: Timestamp, record: &impl Body) -> Result<Receipt, AppendError> {
        self.keep(now, record, self.0.kept == Kept::Sync).await
    }

    /// Writes a record and returns when it is on the disk, whatever is configured.
    pub async fn append_firmly(
        &self,
        now: Timestamp,
        record: &impl Body,
    ) -> Result<Receipt, AppendError> {
        self.keep(now, record, true).await
    }

    async fn keep(
        &self,
        now: Timestamp,
        record: &impl Body,
        urgent: bool,
    ) -> Result<Receipt, AppendError> {
        let (seq, batch) = match self.0.push(now, record, urgent) {
            Err(NotQueued::Full(batch)) => self.queue_later(now, record, urgent, batch).await?,
            queued => queued?,
        };
        if urgent {
            let mut waiting = Waiting { journal: self, seq, record, settled: false };
            let state = tokio::time::timeout(self.0.max_wait, batch.wait()).await;
            waiting.settled = state == Ok(DURABLE);
            if !waiting.settled {
                return Err(AppendError::Unavailable);
            }
        }
        Ok(Receipt { seq })
    }

    /// Waits until what fills the queue is written. A full queue is most often a burst that the disk
    /// takes in a moment; only where it does not within `max_wait` is the call refused.
    async fn queue_later(
        &self,
        now: Timestamp,
        record: &impl Body,
        urgent: bool,
        mut before: Arc<Batch>,
    ) -> Result<(u64, Arc<Batch>), AppendError> {
        let queued = async {
            loop {
                before.wait().await;
                before = match self.0.push(now, record, urgent) {
                    Err(NotQueued::Full(batch)) => batch,
                    queued => return Ok(queued?),
                };
            }
        };
        tokio::time::timeout(self.0.max_wait, queued).await.unwrap_or(Err(AppendError::Overloaded))
    }

    /// Queues a record that nobody waits for. It is written within the interval; when the queue is
    /// full beyond measure it is counted, and a gap record says how many.
    pub fn note(&self, now: Timestamp, record: &impl Body) {
        if self.0.push(now, record, false).is_err() {
            self.0.queue().lose(now, record);
        }
    }

    /// Why no record can be kept, if that is so: a failure, or a disk that does not answer.
    pub fn health(&self) -> Option<Box<str>> {
        let queue = self.0.queue();
        let hangs = || queue.writing.is_some_and(|since| since.elapsed() > self.0.max_wait);
        queue.failure.clone().or_else(|| hangs().then(|| "the disk does not answer".into()))
    }

    /// The numbers of this moment.
    pub fn stats(&self) -> Stats {
        let queue = self.0.queue();
        Stats {
            queued: queue.records,
            next_seq: queue.next_seq,
            syncs: queue.syncs,
            lost: queue.lost.total,
        }
    }

    /// How decisions are kept.
    pub fn kept(&self) -> Kept {
        self.0.kept
    }

    /// The name of the log.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// What of tokens is written as a hash.
    pub fn discretion(&self) -> Discretion {
        self.0.discretion
    }

    /// The keyed hash under which `value` is recognized in this log.
    pub fn tag(&self, value: &str) -> Tag {
        self.0.tagger.tag(value.as_bytes())
    }

    /// The keyed hash of a digest of a personal value, as bytes.
    pub fn cut(&self, value: &[u8]) -> [u8; 16] {
        self.0.tagger.cut(value)
    }

    /// How far the log is sealed; `None` where it is not in files.
    pub fn sealed(&self) -> Option<Sealed> {
        self.0.sealing.get().map(Sealing::sealed)
    }

    /// Writes the `stop` record, waits until everything is on the disk and sealed, and ends the threads.
    pub fn close(&self) {
        self.0.queue().closing = true;
        self.0.wake.notify_one();
        if let Some(thread) = lock_of(&self.0.thread).take()
            && thread.join().is_err()
        {
            tracing::error!("the journal thread ended early");
        }
        if let Some(sealing) = self.0.sealing.get() {
            sealing.close();
        }
    }
}

/// Where the log goes.
struct End<D> {
    disk: D,
    lock: Option<File>,
}

/// The number of the record behind `records` that begin with `first_seq`.
fn after(first_seq: u64, records: usize) -> u64 {
    first_seq.saturating_add(u64::try_from(records).unwrap_or(u64::MAX))
}

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Journal({})", self.0.name)
    }
}

fn failed(directory: &Path, source: io::Error) -> OpenError {
    OpenError::Io { path: directory.to_owned(), source }
}

/// A lock is poisoned only by a panic, which cannot happen under it; what it guards is whole.
fn lock_of<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A caller that waits for its record. When it goes away first, nobody will forward the call, and the
/// log says so.
struct Waiting<'a, B: Body> {
    journal: &'a Journal,
    seq: u64,
    record: &'a B,
    settled: bool,
}

impl<B: Body> Drop for Waiting<'_, B> {
    fn drop(&mut self) {
        if let (false, Effect::Opens(id)) = (self.settled, self.record.effect()) {
            self.journal
                .note(clock::now(), &Outcome::bare(self.seq, id, Ending::ClientAborted, None));
        }
    }
}

thread_local! {
    /// Where a record is serialized before it is copied into the queue.
    static SCRATCH: std::cell::RefCell<Vec<u8>> = const { std::cell::RefCell::new(Vec::new()) };
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        lock_of(&self.queue)
    }

    /// Queues one record. Waiting callers are bounded tighter than notes.
    fn push(
        &self,
        now: Timestamp,
        record: &impl Body,
        urgent: bool,
    ) -> Result<(u64, Arc<Batch>), NotQueued> {
        SCRATCH.with_borrow_mut(|body| {
            body.clear();
            record.write(body);
            let mut queue = self.queue();
            let is_note = !urgent && !matches!(record.effect(), Effect::Opens(_));
            let measure = if is_note { NOTES } else { 1 };
            if queue.failure.is_some() || queue.closing {
                return Err(NotQueued::Unavailable);
            }
            if queue.records >= self.max_records.saturating_mul(measure)
                || queue.lines.len() >= self.max_bytes.saturating_mul(measure)
            {
                let batch = Arc::clone(&queue.batch);
                queue.urgent = true;
                if std::mem::replace(&mut queue.parked, false) {
                    self.wake.notify_one();
                }
                return Err(NotQueued::Full(batch));
            }
            let was_empty = queue.lines.is_empty();
            let seq = queue.add(now, body);
            queue.follow(record.effect());
            queue.urgent |= urgent;
            queue.firm |= urgent;
            let wants_thread = urgent || was_empty || queue.lines.len() >= FULL;
            let wake = wants_thread && std::mem::replace(&mut queue.parked, false);
            let batch = Arc::clone(&queue.batch);
            drop(queue);
            if wake {
                self.wake.notify_one();
            }
            Ok((seq, batch))
        })
    }

    /// The life of the thread.
    fn run<D: Disk>(&self, mut tail: Tail<D>) {
        let mut end = self.durable.load(Ordering::Relaxed);
        while let Some(work) = self.next(tail.owes_sync.then_some(tail.synced)) {
            let Work { lines, records, first_seq, firm, batch } = work;
            let began = clock::instant();
            let written = if lines.is_empty() {
                tail.sync()
            } else {
                tail.write(&lines, first_seq, clock::now())
            };
            let written = match written {
                Ok(()) if firm && tail.owes_sync => tail.sync(),
                written => written,
            };
            match written {
                Ok(()) => {
                    if records > 0 {
                        end = after(first_seq, records);
                    }
                    if !tail.owes_sync {
                        self.durable.store(end, Ordering::Release);
                    }
                    // Durable from here on: whoever is told so may act on it.
                    batch.resolve(DURABLE);
                    self.wrote(lines);
                    if self.kept == Kept::Sync && records >= COMPANY {
                        // As long as the sync took, so that waiting at most doubles while the number
                        // of syncs is halved.
                        std::thread::sleep(began.elapsed().min(MAX_PAUSE));
                    }
                }
                Err(error) => {
                    tracing::error!(%error, "the audit log cannot be written; no call is let through any more");
                    self.poison(&error);
                    batch.resolve(FAILED);
                    return;
                }
            }
        }
    }

    /// Sleeps until there is something to write now; `None` when the log is closed and empty. Where a
    /// sync is owed since `unsynced`, an empty work is given when it is due.
    fn next(&self, unsynced: Option<Instant>) -> Option<Work> {
        let mut queue = self.queue();
        let mut since: Option<Instant> = unsynced;
        loop {
            if queue.lost.count > 0 {
                queue.tell_gap();
            }
            if queue.closing && !std::mem::replace(&mut queue.stopped, true) {
                let open = queue.open;
                queue.add_record(clock::now(), &Stop { open });
            }
            let is_due = since.is_some_and(|since| since.elapsed() >= self.interval);
            if queue.lines.is_empty() && unsynced.is_some() && (is_due || queue.closing) {
                queue.writing = Some(clock::instant());
                return Some(queue.take());
            }
            if !queue.lines.is_empty()
                && (queue.urgent || queue.closing || queue.lines.len() >= FULL || is_due)
            {
                queue.writing = Some(clock::instant());
                return Some(queue.take());
            }
            if queue.closing {
                return None;
            }
            queue.parked = true;
            queue = if queue.lines.is_empty() && unsynced.is_none() {
                self.wake.wait(queue).unwrap_or_else(PoisonError::into_inner)
            } else {
                let began = *since.get_or_insert_with(clock::instant);
                let rest = self.interval.saturating_sub(began.elapsed());
                // Only an urgent record or a full queue ends this pause early.
                let waited = self.wake.wait_timeout(queue, rest);
                waited.unwrap_or_else(PoisonError::into_inner).0
            };
            queue.parked = false;
        }
    }

    fn wrote(&self, lines: Vec<u8>) {
        let mut queue = self.queue();
        queue.writing = None;
        queue.syncs += 1;
        queue.reuse(lines);
    }

    fn poison(&self, error: &io::Error) {
        let mut queue = self.queue();
        queue.failure = Some(error.to_string().into());
        queue.writing = None;
        queue.lines = Vec::new();
        queue.batch.resolve(FAILED);
    }
}

#[cfg(test)]
mod tests;
