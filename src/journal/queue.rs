//! What waits for the disk, and where a record gets its number and its time.

use std::sync::Arc;
use std::time::Instant;

use super::batch::Batch;
use super::recovery::Recovered;
use super::stamp::Stamp;
use crate::audit::line;
use crate::audit::record::{Body, Effect, Gap};
use crate::model::time::Timestamp;

/// Records in their order. Whoever adds or takes holds the lock of the journal.
pub(super) struct Queue {
    pub(super) lines: Vec<u8>,
    /// The buffer that was written last: lines go on in it when the thread takes the others.
    spare: Vec<u8>,
    pub(super) records: usize,
    pub(super) first_seq: u64,
    pub(super) next_seq: u64,
    stamp: Stamp,
    /// `,"log":"…","ep":N,` as it stands in every line of this epoch.
    middle: Box<[u8]>,
    pub(super) batch: Arc<Batch>,
    /// Somebody waits for what is queued.
    pub(super) urgent: bool,
    /// Somebody waits until it is on the disk, whatever the durability.
    pub(super) firm: bool,
    /// The thread sleeps and must be woken.
    pub(super) parked: bool,
    pub(super) closing: bool,
    /// The `stop` record is queued; nothing comes after it.
    pub(super) stopped: bool,
    pub(super) failure: Option<Box<str>>,
    /// Since when the thread has been writing.
    pub(super) writing: Option<Instant>,
    pub(super) open: u64,
    pub(super) lost: Lost,
    pub(super) syncs: u64,
}

/// What the thread writes at one time.
pub(super) struct Work {
    pub(super) lines: Vec<u8>,
    pub(super) records: usize,
    pub(super) first_seq: u64,
    pub(super) firm: bool,
    pub(super) batch: Arc<Batch>,
}

/// Records that could not be queued, until a gap record says so.
#[derive(Default)]
pub(super) struct Lost {
    pub(super) count: u64,
    from: Timestamp,
    to: Timestamp,
    pub(super) total: u64,
}

impl Queue {
    pub(super) fn new(name: &str, recovered: &Recovered) -> Self {
        let mut middle = b",\"log\":".to_vec();
        line::string(&mut middle, name);
        middle.extend_from_slice(b",\"ep\":");
        line::number(&mut middle, recovered.next_epoch);
        middle.push(b',');
        Self {
            lines: Vec::new(),
            spare: Vec::new(),
            records: 0,
            first_seq: recovered.next_seq,
            next_seq: recovered.next_seq,
            stamp: Stamp::default(),
            middle: middle.into(),
            batch: Arc::new(Batch::new()),
            urgent: false,
            firm: false,
            parked: false,
            closing: false,
            stopped: false,
            failure: None,
            writing: None,
            open: 0,
            lost: Lost::default(),
            syncs: 0,
        }
    }

    /// Appends one line: the prefix that is given here, then the members of the record.
    pub(super) fn add(&mut self, now: Timestamp, body: &[u8]) -> u64 {
        let seq = self.next_seq;
        self.lines.extend_from_slice(b"{\"v\":1,\"seq\":");
        line::number(&mut self.lines, seq);
        let behind = self.stamp.write(now, &mut self.lines);
        self.lines.extend_from_slice(&self.middle);
        if behind > 0 {
            self.lines.extend_from_slice(b"\"clk\":");
            line::number(&mut self.lines, behind);
            self.lines.push(b',');
        }
        self.lines.extend_from_slice(body);
        self.lines.extend_from_slice(b"}\n");
        self.next_seq += 1;
        self.records += 1;
        seq
    }

    pub(super) fn follow(&mut self, effect: Effect<'_>) {
        match effect {
            Effect::Closes => self.open = self.open.saturating_sub(1),
            Effect::None => {}
            Effect::Opens(_) => self.open += 1,
        }
    }

    pub(super) fn take(&mut self) -> Work {
        self.urgent = false;
        Work {
            lines: std::mem::replace(&mut self.lines, std::mem::take(&mut self.spare)),
            records: std::mem::take(&mut self.records),
            first_seq: std::mem::replace(&mut self.first_seq, self.next_seq),
            firm: std::mem::take(&mut self.firm),
            batch: std::mem::replace(&mut self.batch, Arc::new(Batch::new())),
        }
    }

    /// Takes back the buffer of a [`Work`] that is written, so that steady work allocates nothing.
    pub(super) fn reuse(&mut self, mut lines: Vec<u8>) {
        lines.clear();
        self.spare = lines;
    }

    pub(super) fn lose(&mut self, now: Timestamp, record: &impl Body) {
        self.follow(record.effect());
        if self.lost.count == 0 {
            self.lost.from = now;
        }
        self.lost.to = now;
        self.lost.count += 1;
        self.lost.total += 1;
    }

    pub(super) fn tell_gap(&mut self) {
        let gap = Gap {
            at_most: Some(std::mem::take(&mut self.lost.count)),
            from: self.lost.from,
            to: self.lost.to,
            why: "queue_full",
            set_aside: None,
        };
        self.add_record(gap.to, &gap);
    }

    /// Adds a record of the journal's own, whatever the bounds.
    pub(super) fn add_record(&mut self, now: Timestamp, record: &impl Body) {
        let mut body = Vec::new();
        record.write(&mut body);
        self.add(now, &body);
    }
}
