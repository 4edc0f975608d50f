//! The promises of the log against a disk that fails at every operation there is.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use super::*;
use crate::audit::record::{Decision, Http};
use crate::journal::disk::SEGMENTS;

/// A log that is on this disk, and is not sealed.
fn end<D>(disk: D) -> End<D> {
    End { disk, lock: None }
}

fn config(directory: &Path) -> Audit {
    Audit {
        directory: directory.to_owned(),
        name: "test".into(),
        durability: Durability::Sync,
        interval: Duration::from_millis(5),
        max_wait: Duration::from_secs(5),
        segment_bytes: 2_000,
        segment_age: Duration::from_hours(1),
        queue_records: 1_000,
        queue_bytes: 1_000_000,
        tag_key: None,
        signing_key: None,
        discretion: Discretion::default(),
    }
}

fn decision(id: &str) -> Decision<'_> {
    Decision {
        id,
        trace: None,
        refusal: None,
        place: None,
        alert: None,
        evidence: None,
        bond: None,
        observed: false,
        kept: Kept::Sync,
        resource: Some("https://tools.test/shop"),
        token: None,
        presenter: None,
        proof: None,
        scope: None,
        unverified: None,
        policies: &[],
        basis: None,
        charged: &[],
        exceeded: None,
        operation: None,
        http: Http { method: "GET", path: "/a", host: None, query: None, body: None },
        client: None,
        upstream: None,
        elapsed: Duration::ZERO,
    }
}

/// How an operation fails.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fails {
    /// It was not done.
    Plainly,
    /// It was done, and reported as failed all the same.
    ButKept,
    /// Half of it was done.
    Halfway,
}

/// Real files, and one operation that fails.
struct Faulty {
    files: Files,
    countdown: usize,
    fails: Fails,
}

impl Faulty {
    fn strike(&mut self, act: impl Fn(&mut Files, bool) -> io::Result<()>) -> io::Result<()> {
        if self.countdown > 0 {
            self.countdown -= 1;
            return act(&mut self.files, false);
        }
        self.countdown = usize::MAX;
        match self.fails {
            Fails::Plainly => {}
            Fails::ButKept => act(&mut self.files, false)?,
            Fails::Halfway => act(&mut self.files, true)?,
        }
        Err(io::Error::other("the disk fails as the test asked"))
    }
}

impl Disk for Faulty {
    fn begin(&mut self, first_seq: u64) -> io::Result<()> {
        self.strike(|files, _| files.begin(first_seq))
    }

    fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        self.strike(|files, half| {
            files.append(&lines[..if half { lines.len() / 2 } else { lines.len() }])
        })
    }

    fn sync(&mut self) -> io::Result<()> {
        self.strike(|files, _| files.sync())
    }
}

fn open(directory: &Path) -> Journal {
    Journal::open(&config(directory), Tagger::new(b"key"), "digest", Timestamp::from_seconds(100))
        .unwrap()
        .0
}

fn segments(directory: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> = fs::read_dir(directory.join(SEGMENTS))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    paths
}

fn lines(directory: &Path) -> Vec<serde_json::Value> {
    let texts: Vec<_> =
        segments(directory).iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    texts.concat().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn assert_dense(lines: &[serde_json::Value]) {
    for (n, line) in lines.iter().enumerate() {
        assert_eq!(line["seq"], n, "{line}");
    }
}

#[tokio::test]
async fn whatever_operation_fails_no_acknowledged_record_is_lost_and_nothing_goes_on() {
    for fails in [Fails::Plainly, Fails::ButKept, Fails::Halfway] {
        // Operations 0 to 2 are those of the `start` record: a log that cannot begin is an error.
        for countdown in 3..24 {
            let directory = tempfile::tempdir().unwrap();
            let acknowledged = write_until_it_fails(directory.path(), countdown, fails).await;
            let journal = open(directory.path());
            journal.close();
            let lines = lines(directory.path());
            assert_dense(&lines);
            let kept: BTreeSet<_> = lines.iter().filter_map(|line| line["id"].as_str()).collect();
            for id in &acknowledged {
                assert!(
                    kept.contains(id.as_str()),
                    "{id} was acknowledged ({fails:?} at {countdown})"
                );
            }
        }
    }
}

async fn write_until_it_fails(directory: &Path, countdown: usize, fails: Fails) -> Vec<String> {
    let recovered = recovery::recover(directory).unwrap();
    let disk = Faulty { files: Files::open(directory, None).unwrap(), countdown, fails };
    let now = Timestamp::from_seconds(50);
    let journal = Journal::start(
        &config(directory),
        Tagger::new(b"key"),
        "digest",
        now,
        &recovered,
        end(disk),
    )
    .unwrap();
    let mut acknowledged = Vec::new();
    for n in 0.. {
        let id = format!("id-{n}");
        match journal.append(now, &decision(&id)).await {
            Ok(_receipt) => acknowledged.push(id),
            Err(error) => {
                assert_eq!(error, AppendError::Unavailable);
                break;
            }
        }
    }
    assert!(journal.health().is_some());
    assert_eq!(
        journal.append(now, &decision("later")).await.unwrap_err(),
        AppendError::Unavailable
    );
    journal.close();
    acknowledged
}

#[tokio::test]
async fn one_sync_serves_many_waiters() {
    let directory = tempfile::tempdir().unwrap();
    let journal = open(directory.path());
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..64 {
        let journal = journal.clone();
        tasks.spawn(async move {
            for n in 0..8 {
                let id = format!("{task}-{n}");
                journal.append(Timestamp::from_seconds(101), &decision(&id)).await.unwrap();
            }
        });
    }
    tasks.join_all().await;
    let syncs = journal.stats().syncs;
    assert!(syncs < 256, "{syncs} syncs for 512 records");
    journal.close();
    assert_dense(&lines(directory.path()));
}

#[tokio::test]
async fn a_caller_that_goes_away_while_it_waits_leaves_an_outcome() {
    let directory = tempfile::tempdir().unwrap();
    let journal = open(directory.path());
    {
        let record = decision("gone");
        let mut waiting = std::pin::pin!(journal.append(Timestamp::from_seconds(101), &record));
        let polled =
            std::future::poll_fn(|cx| std::task::Poll::Ready(waiting.as_mut().poll(cx))).await;
        assert!(polled.is_pending());
    }
    journal.close();
    let lines = lines(directory.path());
    let outcome = lines.iter().find(|line| line["type"] == "outcome").unwrap();
    assert_eq!(
        (outcome["id"].as_str(), outcome["result"].as_str()),
        (Some("gone"), Some("client_aborted"))
    );
    assert_eq!(lines.last().unwrap()["open"], 0);
}

#[tokio::test]
async fn a_call_without_an_outcome_is_closed_as_interrupted_at_the_next_start() {
    let directory = tempfile::tempdir().unwrap();
    let journal = open(directory.path());
    let receipt = journal.append(Timestamp::from_seconds(101), &decision("open")).await.unwrap();
    journal.close();
    let journal = open(directory.path());
    journal.close();
    let lines = lines(directory.path());
    let outcome = lines.iter().find(|line| line["type"] == "outcome").unwrap();
    assert_eq!(
        (outcome["of"].as_u64(), outcome["result"].as_str()),
        (Some(receipt.seq()), Some("interrupted"))
    );
    assert_dense(&lines);
}

/// Real files behind a gate that the test opens: a disk that hangs.
struct Hanging {
    files: Files,
    gate: Arc<(Mutex<bool>, Condvar)>,
}

impl Disk for Hanging {
    fn begin(&mut self, first_seq: u64) -> io::Result<()> {
        self.files.begin(first_seq)
    }

    fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        let (hangs, opened) = &*self.gate;
        drop(opened.wait_while(hangs.lock().unwrap(), |hangs| *hangs).unwrap());
        self.files.append(lines)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.files.sync()
    }
}

/// A `batched` log with room for four records, and what makes its disk hang.
fn narrow(directory: &Path, max_wait: Duration) -> (Journal, impl Fn(bool)) {
    let bounds = Audit {
        queue_records: 4,
        durability: Durability::Batched,
        interval: Duration::from_millis(100),
        max_wait,
        ..config(directory)
    };
    let recovered = recovery::recover(directory).unwrap();
    let gate = Arc::new((Mutex::new(false), Condvar::new()));
    let disk = Hanging { files: Files::open(directory, None).unwrap(), gate: Arc::clone(&gate) };
    let now = Timestamp::from_seconds(100);
    let tagger = Tagger::new(b"key");
    let journal = Journal::start(&bounds, tagger, "digest", now, &recovered, end(disk)).unwrap();
    let hang = move |hangs| {
        *gate.0.lock().unwrap() = hangs;
        gate.1.notify_all();
    };
    (journal, hang)
}

#[tokio::test]
async fn a_full_queue_makes_calls_wait_for_the_disk_and_loses_none() {
    let directory = tempfile::tempdir().unwrap();
    let (journal, _) = narrow(directory.path(), Duration::from_secs(30));
    let mut calls = tokio::task::JoinSet::new();
    for task in 0..16 {
        let journal = journal.clone();
        calls.spawn(async move {
            for n in 0..50 {
                let id = format!("{task}-{n}");
                journal.append(Timestamp::from_seconds(101), &decision(&id)).await.unwrap();
            }
        });
    }
    calls.join_all().await;
    journal.close();
    let lines = lines(directory.path());
    assert_eq!(lines.iter().filter(|line| line["type"] == "decision").count(), 800);
    assert_dense(&lines);
}

#[tokio::test]
async fn a_queue_that_stays_full_refuses_calls_counts_notes_and_says_so_in_a_gap() {
    let directory = tempfile::tempdir().unwrap();
    let (journal, hang) = narrow(directory.path(), Duration::from_millis(20));
    hang(true);
    let now = Timestamp::from_seconds(101);
    let mut refused = 0;
    for n in 0..12 {
        let id = n.to_string();
        refused +=
            usize::from(journal.append(now, &decision(&id)).await == Err(AppendError::Overloaded));
    }
    // At most four are in the hands of the thread and four in the queue.
    assert!(refused >= 4, "{refused}");
    for _ in 0..20 {
        journal.note(now, &Outcome::bare(1, "x", Ending::Success, None));
    }
    assert!(journal.stats().lost > 0);
    hang(false);
    journal.close();
    let lines = lines(directory.path());
    let told: u64 = lines
        .iter()
        .filter(|line| line["type"] == "gap")
        .filter_map(|line| line["at_most"].as_u64())
        .sum();
    let kept = lines.iter().filter(|line| line["type"] == "outcome").count();
    assert_eq!(told, 20 - u64::try_from(kept).unwrap());
    assert_dense(&lines);
}

#[test]
fn a_second_process_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let journal = open(directory.path());
    let second = Journal::open(
        &config(directory.path()),
        Tagger::new(b"key"),
        "digest",
        Timestamp::from_seconds(100),
    );
    assert!(matches!(second, Err(OpenError::Locked { .. })));
    journal.close();
}
