use std::fs::OpenOptions;
use std::io::Write as _;

use proptest::prelude::*;

use super::*;
use crate::journal::sealer::Sealer;
use crate::model::time::Timestamp;

const NOW: Timestamp = Timestamp::from_seconds(1_790_000_000);

/// What somebody does to a log.
type Attack = dyn Fn(&Path);

/// A log of `calls` calls in segments of 100 records, sealed in the middle and at the end.
fn log(calls: u64) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    fs::create_dir(path.join(segment::DIRECTORY)).unwrap();
    let mut seq = 0;
    let mut write = |rest: String| {
        let name = segment::name(seq / 100 * 100);
        let mut options = OpenOptions::new();
        let mut file = options
            .create(true)
            .append(true)
            .open(path.join(segment::DIRECTORY).join(name))
            .unwrap();
        let ts = NOW.after(std::time::Duration::from_millis(seq));
        writeln!(file, r#"{{"v":1,"seq":{seq},"ts":"{ts}","log":"g","ep":1,{rest}}}"#).unwrap();
        seq += 1;
        seq
    };
    write(r#""type":"start""#.to_owned());
    let mut size = 1;
    for call in 0..calls {
        if call == calls / 2 {
            seal(path, size);
        }
        let decision = size;
        write(format!(r#""type":"decision","id":"d{call}","decision":"allow","reason":"granted""#));
        size =
            write(format!(r#""type":"outcome","of":{decision},"id":"d{call}","result":"success""#));
    }
    size = write(r#""type":"stop","open":0"#.to_owned());
    seal(path, size);
    directory
}

fn seal(path: &Path, size: u64) {
    Sealer::open(path, None, ("gate", NOW), size).unwrap().seal(size, true).unwrap();
}

fn verified(path: &Path) -> Report {
    verify(path, &own_key(path).unwrap(), None, &mut |_| {}).unwrap()
}

fn seg(path: &Path, first: u64) -> PathBuf {
    path.join(segment::DIRECTORY).join(segment::name(first))
}

fn edit(path: &Path, change: impl FnOnce(Vec<String>) -> Vec<String>) {
    let text = fs::read_to_string(path).unwrap();
    let lines = change(text.lines().map(str::to_owned).collect());
    fs::write(path, lines.join("\n") + "\n").unwrap();
}

#[test]
fn evi_014_a_log_that_nobody_touched_is_intact() {
    for calls in [0, 1, 49, 50, 300] {
        let directory = log(calls);
        let report = verified(directory.path());
        assert_eq!(report.fault, None, "{calls}");
        assert_eq!((report.records, report.open, report.interrupted), (2 * calls + 2, 0, 0));
        assert_eq!(report.checkpoint.unwrap().size, 2 * calls + 2);
        assert_eq!(report.earlier, if calls > 0 { 2 } else { 1 }, "{calls}");
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "one table of attacks")]
fn evi_014_every_attack_on_the_files_is_named_with_its_place() {
    let attacks: [(&str, &str, Option<u64>, &Attack); 17] = [
        ("a record is changed", "V2", Some(105), &|path| {
            edit(&seg(path, 100), |mut lines| {
                lines[5] = lines[5].replace("d52", "d25");
                lines
            });
        }),
        ("a record is taken out", "V4", Some(105), &|path| {
            edit(&seg(path, 100), |mut lines| {
                lines.remove(5);
                lines
            });
        }),
        ("two records are exchanged", "V4", Some(105), &|path| {
            edit(&seg(path, 100), |mut lines| {
                lines.swap(5, 6);
                lines
            });
        }),
        ("a record stands twice", "V4", Some(106), &|path| {
            edit(&seg(path, 100), |mut lines| {
                lines.insert(5, lines[5].clone());
                lines
            });
        }),
        ("a record is taken out and the others renumbered", "V6", Some(105), &|path| {
            edit(&seg(path, 100), |mut lines| {
                lines.remove(5);
                let renumber = |(n, line): (usize, &mut String)| {
                    let (old, new) = (101 + n, 100 + n);
                    if n >= 5 {
                        *line = line.replace(&format!("\"seq\":{old}"), &format!("\"seq\":{new}"));
                    }
                };
                lines.iter_mut().enumerate().for_each(renumber);
                lines
            });
        }),
        ("an empty line is put in", "V4", Some(601), &|path| {
            edit(&seg(path, 600), |mut lines| {
                lines.insert(1, String::new());
                lines
            });
        }),
        ("a segment is gone", "V4", Some(100), &|path| fs::remove_file(seg(path, 100)).unwrap()),
        ("the last segment is gone", "V2", Some(600), &|path| {
            fs::remove_file(seg(path, 600)).unwrap();
        }),
        ("the first segment is gone", "V4", Some(0), &|path| {
            fs::remove_file(seg(path, 0)).unwrap();
        }),
        ("a segment is that of another place", "V4", Some(100), &|path| {
            fs::copy(seg(path, 200), seg(path, 100)).unwrap();
        }),
        ("the end is cut off", "V2", Some(601), &|path| {
            edit(&seg(path, 600), |mut lines| {
                lines.pop();
                lines
            });
        }),
        ("the checkpoint says less", "V1", None, &|path| {
            let checkpoint = path.join(tree::DIRECTORY).join(CHECKPOINT);
            let text = fs::read_to_string(&checkpoint).unwrap();
            fs::write(checkpoint, text.replace("\n602\n", "\n601\n")).unwrap();
        }),
        ("the checkpoint is an old one, and the end is cut off", "V2", Some(301), &|path| {
            let folder = path.join(tree::DIRECTORY);
            let history = fs::read_to_string(folder.join(HISTORY)).unwrap();
            fs::write(folder.join(CHECKPOINT), sealer::notes(&history).next().unwrap()).unwrap();
            for first in [400, 500, 600] {
                fs::remove_file(seg(path, first)).unwrap();
            }
            edit(&seg(path, 300), |mut lines| {
                lines.truncate(1);
                lines
            });
        }),
        ("a checkpoint of the history is forged", "V1", None, &|path| {
            let history = path.join(tree::DIRECTORY).join(HISTORY);
            let text = fs::read_to_string(&history).unwrap();
            fs::write(history, text.replace("\n301\n", "\n300\n")).unwrap();
        }),
        ("another log was signed with the key", "V1", None, &|path| {
            let fork = tempfile::tempdir().unwrap();
            fs::create_dir_all(fork.path().join(tree::DIRECTORY)).unwrap();
            for file in ["key", "origin"] {
                let of = |path: &Path| path.join(tree::DIRECTORY).join(file);
                fs::copy(of(path), of(fork.path())).unwrap();
            }
            fs::create_dir(fork.path().join(segment::DIRECTORY)).unwrap();
            fs::copy(seg(path, 0), seg(fork.path(), 0)).unwrap();
            fs::write(seg(fork.path(), 100), "x\n".repeat(502)).unwrap();
            seal(fork.path(), 602);
            let of = |path: &Path, file: &str| path.join(tree::DIRECTORY).join(file);
            let other = fs::read_to_string(of(fork.path(), HISTORY)).unwrap();
            let mut file = OpenOptions::new().append(true).open(of(path, HISTORY)).unwrap();
            file.write_all(other.as_bytes()).unwrap();
        }),
        ("a hash in the tree is changed", "V2", Some(105), &|path| {
            let level = path.join(tree::DIRECTORY).join("0");
            let mut bytes = fs::read(&level).unwrap();
            bytes[32 * 105 + 3] ^= 1;
            fs::write(level, bytes).unwrap();
        }),
        ("the outcome is of another call", "V6", Some(602), &|path| {
            let mut file = OpenOptions::new().append(true).open(seg(path, 600)).unwrap();
            let ts = NOW.after(std::time::Duration::from_secs(9));
            writeln!(file, r#"{{"v":1,"seq":602,"ts":"{ts}","log":"g","ep":1,"type":"outcome","of":5,"result":"success"}}"#)
                .unwrap();
        }),
    ];
    for (case, check, seq, attack) in attacks {
        let directory = log(300);
        attack(directory.path());
        let fault = verified(directory.path()).fault;
        let found = fault.as_ref().map(|fault| (fault.check, fault.seq));
        assert_eq!(found, Some((check, seq)), "{case}: {fault:?}");
    }
}

#[test]
fn a_log_that_nobody_signed_or_another_key_says_nothing() {
    let directory = log(3);
    let other = log(4);
    fs::write(other.path().join("tree/key"), "07".repeat(32)).unwrap();
    fs::remove_file(other.path().join("tree/checkpoint")).unwrap();
    fs::remove_file(other.path().join("tree/checkpoints")).unwrap();
    seal(other.path(), 10);
    let foreign = own_key(other.path()).unwrap();
    let report = verify(directory.path(), &foreign, None, &mut |_| {}).unwrap();
    assert_eq!(report.fault.unwrap().check, "V1");
    fs::remove_dir_all(directory.path().join("tree")).unwrap();
    assert!(matches!(own_key(directory.path()), Err(VerifyError::NoCheckpoint(_))));
}

#[test]
fn evi_014_a_log_that_was_cut_off_or_written_anew_does_not_fit_a_checkpoint_that_was_kept() {
    let kept = tempfile::NamedTempFile::new().unwrap();
    let whole = log(300);
    fs::copy(whole.path().join("tree/checkpoint"), kept.path()).unwrap();
    let against = |log: &Path| {
        let report = verify(log, &own_key(log).unwrap(), Some(kept.path()), &mut |_| {}).unwrap();
        report.fault.map(|fault| (fault.check, fault.seq, fault.file == kept.path()))
    };
    assert_eq!(against(whole.path()), None);
    // The whole log was written anew by somebody who has the key.
    for (calls, expected) in
        [(200, ("V2", Some(402), true)), (300, ("V1", None, true)), (400, ("V3", Some(601), true))]
    {
        let anew = log(calls);
        let path = anew.path();
        fs::remove_dir_all(path.join("tree")).unwrap();
        fs::create_dir(path.join("tree")).unwrap();
        for file in ["tree/key", "tree/origin"] {
            fs::copy(whole.path().join(file), path.join(file)).unwrap();
        }
        edit(&seg(path, 0), |mut lines| {
            lines[7] = lines[7].replace("d3", "x3");
            lines
        });
        seal(path, 2 * calls + 2);
        assert_eq!(verified(path).fault, None);
        assert_eq!(against(path), Some(expected), "{calls}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    /// Whatever is done to one file of the log is found.
    #[test]
    fn evi_014_no_change_of_a_signed_log_goes_unnoticed(
        file in prop::sample::select(vec!["seg/000000000000.jsonl", "seg/000000000100.jsonl", "tree/0", "tree/checkpoint", "tree/checkpoints"]),
        at in 0_usize..100_000, how in 0..5, bit in 0..8,
    ) {
        thread_local! {
            static LOG: tempfile::TempDir = log(90);
        }
        LOG.with(|log| -> Result<(), TestCaseError> {
            let path = log.path().join(file);
            let before = fs::read(&path).unwrap();
            let at = at % before.len();
            let mut after = before.clone();
            match how {
                0 => after[at] ^= 1_u8 << bit,
                1 => drop(after.remove(at)),
                2 => after.insert(at, b'x'),
                3 => after.insert(at, b'\n'),
                _ => after.truncate(at),
            }
            fs::write(&path, &after).unwrap();
            let report = verified(log.path());
            fs::write(&path, &before).unwrap();
            // What stands last in the history may have been cut short by a crash, and says nothing then. The
            // latest checkpoint says more than all of the history.
            let whole = String::from_utf8(before[..at].to_vec()).unwrap_or_default();
            let is_last = file == "tree/checkpoints" && (how == 4 || sealer::notes(&whole).count() >= 1);
            let is_same = before == after;
            prop_assert!(report.fault.is_some() || is_last || is_same, "{} {} {}", file, at, how);
            Ok(())
        })?;
    }
}
