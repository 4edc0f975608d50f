use std::fs;

use super::*;
use crate::audit::filter::Reading;
use crate::model::time::Timestamp;

/// The record `n` of a log of `epochs`: a tenth of a second after the one before it.
fn record(n: u64, ep: u64) -> String {
    let ts = Timestamp::from_micros(1_795_443_200_000_000 + n * 100_000);
    let agent = n % 97;
    let long = "x".repeat(usize::try_from(n % 7).unwrap() * 50);
    format!(
        r#"{{"v":1,"seq":{n},"ts":"{ts}","log":"gw","ep":{ep},"type":"decision","id":"id-{n}","decision":"allow","agent":{{"id":"bot-{agent}"}},"http":{{"path":"/{long}"}}}}"#
    )
}

fn log(segments: &[(u64, u64)], epoch: impl Fn(u64) -> u64) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let seg = directory.path().join("seg");
    fs::create_dir(&seg).unwrap();
    for &(from, to) in segments {
        let text: String = (from..to).map(|n| record(n, epoch(n)) + "\n").collect();
        fs::write(seg.join(segment::name(from)), text).unwrap();
    }
    directory
}

fn filter(pairs: &[(&str, &str)]) -> Filter {
    let now = Timestamp::from_seconds(1_795_443_200);
    Filter::parse(pairs.iter().copied(), Reading { now, tagger: None }).unwrap()
}

fn seqs(directory: &Path, filter: &Filter, order: Order, most: usize) -> Vec<u64> {
    let mut seqs = Vec::new();
    search(directory, &Query::of(filter), order, most, &mut |hit| {
        let bytes = fs::read(&hit.file).unwrap();
        let at = usize::try_from(hit.offset).unwrap();
        assert!(bytes[at..].starts_with(hit.line.as_bytes()));
        seqs.push(Outline::read(hit.line.as_bytes()).unwrap().seq);
        Ok(ControlFlow::Continue(()))
    })
    .unwrap();
    seqs
}

#[test]
fn what_is_wanted_is_found_from_both_ends_and_counted() {
    // Some are longer than the first stretches, and than a block.
    let directory = log(&[(0, 5_000), (5_000, 5_001), (5_001, 9_000)], |_| 1);
    for pairs in [
        &[("agent", "bot-7")][..],
        &[("agent", "bot-7"), ("agent", "bot-8*")],
        &[("agent", "!bot-7")],
        &[("decision", "deny")],
        &[],
    ] {
        let filter = filter(pairs);
        let line = |n: &u64| record(*n, 1);
        let wants = |n: &u64| filter.wants(&Outline::read(line(n).as_bytes()).unwrap(), &line(n));
        let expected: Vec<u64> = (0..9_000).filter(wants).collect();
        assert_eq!(seqs(directory.path(), &filter, Order::Oldest, usize::MAX), expected);
        let mut newest = seqs(directory.path(), &filter, Order::Newest, usize::MAX);
        newest.reverse();
        assert_eq!(newest, expected);
        let seen = count(directory.path(), &Query::of(&filter)).unwrap();
        assert_eq!((seen.hits, seen.bad), (u64::try_from(expected.len()).unwrap(), 0));
        let first: Vec<_> = expected.iter().copied().take(10).collect();
        assert_eq!(seqs(directory.path(), &filter, Order::Oldest, 10), first);
        let last: Vec<_> = expected.iter().rev().copied().take(10).collect();
        assert_eq!(seqs(directory.path(), &filter, Order::Newest, 10), last);
    }
}

#[test]
fn times_are_kept_to_also_where_they_go_back_between_epochs() {
    let at = |n: u64| Timestamp::from_micros(1_795_443_200_000_000 + n * 100_000).to_string();
    for epochs in [1, 2] {
        let directory = log(&[(0, 700), (700, 1_400), (1_400, 2_100)], |n| 1 + n / 1_000 % epochs);
        for (since, until) in [(0, 2_100), (100, 101), (650, 1_450), (700, 1_400), (2_099, 9_999)] {
            let (from, to) = (at(since), at(until));
            let filter = filter(&[("since", &from), ("until", &to)]);
            let expected: Vec<u64> = (since..until.min(2_100)).collect();
            assert_eq!(seqs(directory.path(), &filter, Order::Oldest, usize::MAX), expected);
        }
    }
    // A clock that was set back: the second epoch is earlier than the first.
    let directory = log(&[(500, 1_000)], |_| 1);
    let path = directory.path().join("seg").join(segment::name(500));
    let mut text = fs::read_to_string(&path).unwrap();
    text.extend((0..500).map(|n| record(n, 2) + "\n"));
    fs::write(&path, text).unwrap();
    let filter = filter(&[("since", &at(400)), ("until", &at(600))]);
    let expected: Vec<u64> = (500..600).chain(400..500).collect();
    assert_eq!(seqs(directory.path(), &filter, Order::Oldest, usize::MAX), expected);
}

#[test]
fn what_is_no_record_is_counted_and_what_is_being_written_is_left_alone() {
    let directory = log(&[(0, 3)], |_| 1);
    let path = directory.path().join("seg").join(segment::name(0));
    let text = fs::read_to_string(&path).unwrap();
    let long = "y".repeat(2 * BLOCK);
    fs::write(&path, format!("{text}nonsense\n{long}\n{}\n{{\"v\":1", record(3, 1))).unwrap();
    let everything = Filter::default();
    let seen = count(directory.path(), &Query::of(&everything)).unwrap();
    assert_eq!((seen.hits, seen.bad), (4, 2));
    assert_eq!(seqs(directory.path(), &everything, Order::Newest, usize::MAX), [3, 2, 1, 0]);
    let empty = tempfile::tempdir().unwrap();
    assert_eq!(count(empty.path(), &Query::of(&everything)).unwrap(), Seen::default());
}
