//! The end of the log on the disk: which segment is written, and when it is made durable.

use std::fs::File;
use std::io;
use std::time::{Duration, Instant};

use super::disk::Disk;
use super::recovery::Recovered;
use crate::config::{Audit, Durability};
use crate::model::time::Timestamp;
use crate::runtime::clock;

/// The end of the log, owned by the thread.
pub(super) struct Tail<D> {
    disk: D,
    /// Length of the current segment, and when it began; none before the first.
    segment: Option<(u64, Timestamp)>,
    max_bytes: u64,
    max_age: Duration,
    /// In `batched` nobody waits for the disk: it is synced once in an interval, and at the end.
    is_patient: bool,
    interval: Duration,
    /// When it was last made durable.
    pub(super) synced: Instant,
    /// Something is written and not yet durable.
    pub(super) owes_sync: bool,
    /// Held as long as the log is open: another process refuses to append.
    _lock: Option<File>,
}

impl<D: Disk> Tail<D> {
    pub(super) fn new(
        config: &Audit,
        recovered: &Recovered,
        now: Timestamp,
        disk: D,
        lock: Option<File>,
    ) -> Self {
        // After an unclean end the kernel may still show pages that never reached the disk, so nothing
        // is appended to that segment any more.
        let segment = recovered.segment.as_ref().filter(|_| recovered.previous_clean == Some(true));
        Self {
            disk,
            segment: segment.map(|segment| (segment.length, segment.began.min(now))),
            max_bytes: config.segment_bytes,
            max_age: config.segment_age,
            is_patient: config.durability == Durability::Batched,
            interval: config.interval,
            synced: clock::instant(),
            owes_sync: false,
            _lock: lock,
        }
    }

    pub(super) fn write(&mut self, lines: &[u8], first_seq: u64, now: Timestamp) -> io::Result<()> {
        let size = u64::try_from(lines.len()).unwrap_or(u64::MAX);
        let (length, began) = match self.segment {
            Some((length, began))
                if length + size <= self.max_bytes && now.since(began) < self.max_age =>
            {
                (length, began)
            }
            // A crash here leaves an empty segment, which recovery takes for what it is.
            _ => {
                if self.owes_sync {
                    self.sync()?;
                }
                self.disk.begin(first_seq)?;
                (0, now)
            }
        };
        self.segment = Some((length + size, began));
        // A crash here leaves a torn line, which recovery cuts off: nobody was told that it is kept.
        self.disk.append(lines)?;
        if self.is_patient && clock::instant().duration_since(self.synced) < self.interval {
            self.owes_sync = true;
            return Ok(());
        }
        self.sync()
    }

    pub(super) fn sync(&mut self) -> io::Result<()> {
        self.owes_sync = false;
        self.synced = clock::instant();
        self.disk.sync()
    }
}
