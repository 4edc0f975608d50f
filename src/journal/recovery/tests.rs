//! Logs made by hand, damaged in one place each.

use proptest::prelude::*;

use super::*;

fn line(seq: u64, ep: u64, rest: &str) -> String {
    let ts = Timestamp::from_seconds(1_790_000_000 + seq);
    format!("{{\"v\":1,\"seq\":{seq},\"ts\":\"{ts}\",\"log\":\"gw\",\"ep\":{ep},{rest}}}\n")
}

fn start(interrupted: u64) -> String {
    format!(
        r#""type":"start","previous":"unclean","recovered":{{"lines_cut":0,"interrupted":{interrupted}}}"#
    )
}

fn allow(id: &str) -> String {
    format!(r#""type":"decision","id":"{id}","decision":"allow","reason":"granted""#)
}

fn outcome(of: u64, result: &str) -> String {
    format!(r#""type":"outcome","of":{of},"id":"x","result":"{result}""#)
}

const STOP: &str = r#""type":"stop","open":0"#;

/// A log with one text for each segment, named by the `seq` given.
fn log(segments: &[(u64, String)]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let seg = directory.path().join(segment::DIRECTORY);
    fs::create_dir(&seg).unwrap();
    for (first, text) in segments {
        fs::write(seg.join(segment::name(*first)), text).unwrap();
    }
    directory
}

/// The lines of one epoch, numbered from `first`.
fn lines(first: u64, ep: u64, bodies: &[String]) -> String {
    (first..).zip(bodies).map(|(seq, body)| line(seq, ep, body)).collect()
}

fn sample() -> [(u64, String); 3] {
    [
        (0, lines(0, 1, &[start(0), allow("a"), allow("b")])),
        (3, lines(3, 1, &[outcome(1, "success"), allow("c")])),
        (5, lines(5, 1, &[outcome(4, "success"), allow("d"), STOP.to_owned()])),
    ]
}

#[test]
fn no_log_is_the_beginning_of_one() {
    let directory = tempfile::tempdir().unwrap();
    let fresh = Recovered { next_epoch: 1, ..Recovered::default() };
    assert_eq!(recover(directory.path()).unwrap(), fresh);
    assert_eq!(recover(&directory.path().join("none")).unwrap(), fresh);
}

#[test]
fn open_calls_are_found_through_all_segments_of_the_epoch() {
    let directory = log(&sample());
    let found = recover(directory.path()).unwrap();
    assert_eq!((found.next_seq, found.next_epoch), (8, 2));
    assert_eq!((found.previous_clean, found.bytes_cut), (Some(true), 0));
    assert_eq!(found.last, Timestamp::from_seconds(1_790_000_007));
    let open: Vec<_> = found.open_calls.iter().map(|call| (call.seq, &*call.id)).collect();
    assert_eq!(open, [(2, "b"), (6, "d")]);
    let segment = found.segment.unwrap();
    assert_eq!((segment.first_seq, segment.length), (5, sample()[2].1.len().try_into().unwrap()));
    assert_eq!(segment.began, Timestamp::from_seconds(1_790_000_005));
}

#[test]
fn a_segment_that_others_follow_is_checked_line_by_line() {
    let bodies = [start(0), allow("a"), allow("b"), allow("c")];
    let whole = lines(0, 1, &bodies);
    let after = |text: String| log(&[(0, text), (4, lines(4, 1, &[outcome(1, "success")]))]);
    let open = recover(after(whole.clone()).path()).unwrap().open_calls;
    assert_eq!(open.iter().map(|call| call.seq).collect::<Vec<_>>(), [2, 3]);
    for (what, by, expected) in [
        ("\"seq\":2", "\"seq\":7", "seq is not dense"),
        ("\"id\":\"b\"", "\"id\":\"\u{0}\"", "not a record"),
        ("granted\"}\n{\"v\":1,\"seq\":3", "granted}\n{\"v\":1,\"seq\":3", "not a record"),
        (
            "\"log\":\"gw\",\"ep\":1,\"type\":\"decision\",\"id\":\"b\"",
            "\"log\":\"gw\",\"ep\":0,\"type\":\"decision\",\"id\":\"b\"",
            "epoch goes back",
        ),
    ] {
        let error = recover(after(whole.replacen(what, by, 1)).path()).unwrap_err().to_string();
        assert!(error.contains("line 3") && error.contains(expected), "{error}");
    }
}

#[test]
fn what_is_signed_is_left_to_whoever_verifies_it() {
    let whole = lines(0, 1, &[start(0), allow("a"), allow("b"), allow("c")]);
    for (what, by, signed, is_read) in [
        ("\"granted\"}", "\"granted}", 4, true),
        ("\"granted\"}", "\"granted}", 3, false),
        ("\"granted\"}", "\"gran\u{0}ed\"}", 4, false),
        ("\"seq\":2", "\"seq\":7", 4, false),
    ] {
        let last = (4, lines(4, 1, &[outcome(1, "success")]));
        let directory = log(&[(0, whole.replacen(what, by, 2)), last]);
        let tree = directory.path().join(tree::DIRECTORY);
        fs::create_dir(&tree).unwrap();
        fs::write(tree.join(CHECKPOINT), format!("gw\n{signed}\nroot\n")).unwrap();
        assert_eq!(recover(directory.path()).is_ok(), is_read, "{by} {signed}");
    }
}

#[test]
fn an_empty_last_segment_is_where_to_go_on() {
    let [first, second, _] = sample();
    let directory = log(&[first, second, (5, String::new())]);
    let found = recover(directory.path()).unwrap();
    assert_eq!((found.next_seq, found.next_epoch, found.previous_clean), (5, 2, Some(false)));
    assert_eq!(found.last, Timestamp::from_seconds(1_790_000_004));
    assert_eq!(found.open_calls.iter().map(|call| call.seq).collect::<Vec<_>>(), [2, 4]);
    assert_eq!(found.segment.unwrap().length, 0);
    let found = recover(log(&[(0, String::new())]).path()).unwrap();
    assert_eq!((found.next_seq, found.next_epoch, found.previous_clean), (0, 1, None));
}

#[test]
fn an_epoch_that_died_before_it_closed_the_calls_before_it_leaves_them_open() {
    for (later, expected) in [
        (vec![start(1)], vec![1]),
        (vec![start(1), outcome(1, "interrupted")], vec![]),
        (vec![outcome(1, "interrupted"), start(1)], vec![]),
        (vec![outcome(1, "interrupted")], vec![]),
        (vec![start(1), outcome(1, "interrupted"), allow("z")], vec![4]),
        (vec![start(0), allow("z")], vec![1, 3]),
    ] {
        let before = lines(0, 1, &[start(0), allow("a")]);
        let whole = log(&[(0, before.clone() + &lines(2, 2, &later))]);
        let split = log(&[(0, before), (2, lines(2, 2, &later))]);
        let open = |log: &tempfile::TempDir| {
            let found = recover(log.path()).unwrap().open_calls;
            found.iter().map(|call| call.seq).collect::<Vec<_>>()
        };
        assert_eq!(open(&whole), expected, "{later:?}");
        // A segment further back than the last epoch is not read, where that epoch needs nothing of it.
        let expected: Vec<_> = if later[0] == start(0) { vec![3] } else { expected };
        assert_eq!(open(&split), expected, "{later:?}");
    }
}

#[test]
fn observed_refusals_are_forwarded_and_so_open() {
    let observed = r#""type":"decision","id":"o","decision":"deny","mode":"observe""#.to_owned();
    let refused = r#""type":"decision","id":"r","decision":"deny""#.to_owned();
    let directory = log(&[(0, lines(0, 1, &[start(0), observed, refused]))]);
    let found = recover(directory.path()).unwrap();
    assert_eq!(found.open_calls, [OpenCall { seq: 1, id: "o".into() }]);
}

#[test]
fn every_cut_of_the_last_segment_keeps_the_whole_lines() {
    let [first, second, (name, text)] = sample();
    for end in 0..text.len() {
        let cut = text.get(..end).unwrap().to_owned();
        let whole = cut.rfind('\n').map_or(0, |at| at + 1);
        let directory = log(&[first.clone(), second.clone(), (name, cut.clone())]);
        let found = recover(directory.path()).unwrap();
        assert_eq!(found.bytes_cut, u64::try_from(end - whole).unwrap());
        assert_eq!(found.lines_cut, u64::from(whole < end));
        let path = found.segment.unwrap().path;
        assert_eq!(fs::read_to_string(path).unwrap(), cut.get(..whole).unwrap());
        let again = recover(directory.path()).unwrap();
        assert_eq!((again.bytes_cut, again.next_seq), (0, found.next_seq));
    }
}

#[test]
fn a_hole_at_the_end_is_torn_and_further_inside_is_damage() {
    let text = sample()[2].1.clone();
    let at = text.find("\"id\":\"d\"").unwrap();
    let mut bytes = text.into_bytes();
    bytes[at..at + 4].fill(0);
    let [first, second, _] = sample();
    let directory = log(&[first, second, (5, String::from_utf8(bytes.clone()).unwrap())]);
    let found = recover(directory.path()).unwrap();
    assert_eq!((found.next_seq, found.lines_cut), (6, 2));

    let many: Vec<_> = (0..20_000).map(|_| outcome(0, "success")).collect();
    let mut bytes = lines(0, 1, &many).into_bytes();
    assert!(bytes.len() > 1_100_000);
    bytes[100] = 0;
    let directory = log(&[(0, String::from_utf8(bytes).unwrap())]);
    assert!(matches!(recover(directory.path()), Err(OpenError::Corrupt { line: 1..=2, .. })));
}

#[test]
fn what_no_crash_can_do_is_reported_with_its_place() {
    type Damage = fn(&mut Vec<String>);
    let tampers: [(&str, Damage, u64, &str); 9] = [
        ("a deleted line", |l| drop(l.remove(2)), 3, "seq is not dense"),
        ("a duplicated line", |l| l.insert(2, l[1].clone()), 3, "seq is not dense"),
        ("swapped lines", |l| l.swap(1, 2), 2, "seq is not dense"),
        ("an edited seq", |l| l[1] = l[1].replace("\"seq\":1", "\"seq\":7"), 2, "seq is not dense"),
        ("the first line gone", |l| drop(l.remove(0)), 1, "seq is not dense"),
        ("a line cut short inside", |l| l[1].replace_range(20..40, ""), 2, "not a record"),
        (
            "an epoch that goes back",
            |l| l[3] = l[3].replace("\"ep\":1", "\"ep\":0"),
            4,
            "epoch goes back",
        ),
        ("an unknown version", |l| l[0] = l[0].replace("\"v\":1", "\"v\":2"), 1, "unknown version"),
        ("an array", |l| l[2] = "[1,2,\"\",\"\",1,\"stop\"]\n".to_owned(), 3, "not a record"),
    ];
    for (name, damage, at, expected) in tampers {
        let bodies = [start(0), allow("a"), outcome(1, "success"), allow("b"), STOP.to_owned()];
        let mut text: Vec<_> = (0..).zip(&bodies).map(|(seq, body)| line(seq, 1, body)).collect();
        damage(&mut text);
        let text = text.concat();
        let directory = log(&[(0, text.clone())]);
        let error = recover(directory.path()).unwrap_err();
        let OpenError::Corrupt { file, line, offset, what } = &error else { panic!("{error}") };
        assert_eq!((*line, what.as_str()), (at, expected), "{name}");
        let before = text.split_inclusive('\n').take(usize::try_from(at).unwrap() - 1);
        let before: usize = before.map(str::len).sum();
        assert_eq!(*offset, u64::try_from(before).unwrap(), "{name}");
        assert_eq!(fs::read_to_string(file).unwrap(), text, "a damaged log is left as it is");
        let text = error.to_string();
        assert!(text.contains("000000000000.jsonl") && text.contains("opgate audit recover"));
    }
}

#[test]
fn segments_must_follow_from_each_other() {
    let [first, second, third] = sample();
    let truncated = (second.0, second.1.get(..second.1.len() - 9).unwrap().to_owned());
    let shorter = (second.0, second.1.split_inclusive('\n').next().unwrap().to_owned());
    let middle = (second.0, second.1.replacen("\"v\":1", "\"v\"", 1));
    for (segments, file, line) in [
        (vec![first.clone(), third.clone()], 5, 1),
        (vec![first.clone(), truncated, third.clone()], 3, 2),
        (vec![first.clone(), shorter, third.clone()], 5, 1),
        (vec![first.clone(), (3, String::new()), third.clone()], 3, 1),
        (vec![first, middle, third.clone()], 3, 1),
        (vec![second, third], 3, 1),
    ] {
        let directory = log(&segments);
        let error = recover(directory.path()).unwrap_err();
        let OpenError::Corrupt { file: found, line: at, .. } = &error else { panic!("{error}") };
        assert_eq!((found.ends_with(segment::name(file)), *at), (true, line), "{error}");
    }
}

#[test]
fn a_damaged_log_is_set_aside_untouched_and_the_fresh_one_says_so() {
    let [first, _, third] = sample();
    let directory = log(&[first.clone(), third.clone()]);
    recover(directory.path()).unwrap_err();
    let now = Timestamp::from_seconds(1_790_000_100);
    let aside = quarantine(directory.path(), now).unwrap();
    assert_eq!(aside, directory.path().join("damaged-20260921T141500.000000Z"));
    for (name, text) in [first, third] {
        let path = aside.join(segment::DIRECTORY).join(segment::name(name));
        assert_eq!(fs::read_to_string(path).unwrap(), text);
    }
    let found = recover(directory.path()).unwrap();
    assert_eq!((found.next_seq, found.next_epoch), (1, 2));
    assert_eq!((found.previous_clean, found.last), (Some(false), now));
    assert_eq!(
        fs::read_to_string(found.segment.unwrap().path).unwrap(),
        concat!(
            r#"{"v":1,"seq":0,"ts":"2026-09-21T14:15:00.000000Z","log":"gw","ep":1,"type":"gap","#,
            r#""from":"2026-09-21T14:13:27.000000Z","to":"2026-09-21T14:15:00.000000Z","#,
            r#""why":"damaged","set_aside":"damaged-20260921T141500.000000Z"}"#,
            "\n"
        )
    );
}

#[test]
fn a_quarantine_that_a_crash_cut_short_has_happened_whole_or_not_at_all() {
    let now = Timestamp::from_seconds(1_790_000_100);
    let directory = log(&sample());
    write_fresh(directory.path(), now, "damaged-x").unwrap();
    assert_eq!(recover(directory.path()).unwrap().next_seq, 8, "the old log still stands");
    assert!(!directory.path().join(FRESH).exists());

    write_fresh(directory.path(), now, "damaged-x").unwrap();
    fs::create_dir(directory.path().join("damaged-x")).unwrap();
    let log = directory.path().join(segment::DIRECTORY);
    fs::rename(log, directory.path().join("damaged-x/seg")).unwrap();
    assert_eq!(recover(directory.path()).unwrap().next_seq, 1, "the fresh log took its place");
}

#[test]
fn only_one_process_has_the_lock() {
    let directory = tempfile::tempdir().unwrap();
    let held = lock(directory.path()).unwrap();
    assert!(matches!(lock(directory.path()), Err(OpenError::Locked { .. })));
    drop(held);
    lock(directory.path()).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_bytes_after_the_log_are_judged_without_panic(bytes in any::<Vec<u8>>()) {
        let directory = log(&sample());
        let path = directory.path().join("seg").join(segment::name(5));
        let mut file = OpenOptions::new().append(true).open(path).unwrap();
        file.write_all(&bytes).unwrap();
        recover(directory.path()).ok();
    }
}
