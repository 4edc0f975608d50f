use super::*;

const NOW: Timestamp = Timestamp::from_seconds(1_790_000_000);

fn open(path: &Path) -> Result<Revocations, OpenError> {
    Revocations::open(path, Signal::default())
}

fn token(jti: &str) -> Target {
    Target { kind: Kind::Token, value: jti.into(), issuer: None }
}

fn revoke(revocations: &Revocations, jti: &str) -> Revocation {
    let (made, kept) = revocations.revoke(token(jti), None, Some("lost".into()), NOW).unwrap();
    assert_eq!(kept, Kept::Durably);
    made
}

#[test]
fn what_was_revoked_is_revoked_after_a_start_and_what_was_lifted_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("revocations");
    let first = {
        let revocations = open(&path).unwrap();
        let first = revoke(&revocations, "a");
        let second = revoke(&revocations, "b");
        assert_eq!(revoke(&revocations, "a").id, first.id, "revoked once is enough");
        revocations.lift(&second.id, NOW).unwrap();
        assert!(matches!(revocations.lift(&second.id, NOW), Err(ChangeError::Unknown)));
        first
    };
    let revocations = open(&path).unwrap();
    assert_eq!(revocations.list(NOW), [first]);
    assert_eq!(revocations.current().len(), 1);
    assert!(matches!(open(&path), Err(OpenError::Locked { .. })), "one gate a file");
}

#[test]
fn a_revocation_that_has_ended_is_not_listed() {
    let folder = tempfile::tempdir().unwrap();
    let revocations = open(&folder.path().join("revocations")).unwrap();
    let until = NOW.after(std::time::Duration::from_secs(5));
    revocations.revoke(token("a"), Some(until), None, NOW).unwrap();
    assert_eq!(revocations.list(NOW).len(), 1);
    assert_eq!(revocations.list(until), []);
    let longer = revocations.revoke(token("a"), None, None, NOW).unwrap().0;
    assert_eq!(revocations.list(until), [longer], "a longer one is another one");
}

#[test]
fn an_unfinished_line_is_cut_off_and_the_next_change_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("revocations");
    revoke(&open(&path).unwrap(), "a");
    let whole = fs::read(&path).unwrap();
    for cut in 0..whole.len() {
        fs::write(&path, [&whole[..], &whole[..cut]].concat()).unwrap();
        let revocations = open(&path).unwrap();
        assert_eq!(revocations.list(NOW).len(), 1, "{cut} bytes");
        revoke(&revocations, "b");
        drop(revocations);
        assert_eq!(open(&path).unwrap().list(NOW).len(), 2, "{cut} bytes");
    }
}

#[test]
fn a_file_in_which_any_byte_was_changed_or_any_line_taken_out_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("revocations");
    {
        let revocations = open(&path).unwrap();
        revoke(&revocations, "a");
        revoke(&revocations, "b");
        revoke(&revocations, "c");
    }
    let whole = fs::read(&path).unwrap();
    // The last line end is what tells a change that was acknowledged from one that was not.
    for at in 0..whole.len() - 1 {
        let mut damaged = whole.clone();
        damaged[at] ^= 1;
        fs::write(&path, &damaged).unwrap();
        let error = open(&path).unwrap_err();
        assert!(matches!(error, OpenError::Damaged { .. }), "byte {at}: {error}");
    }
    let lines: Vec<&[u8]> = whole.split_inclusive(|byte| *byte == b'\n').collect();
    for without in [[lines[1], lines[2]].concat(), [lines[0], lines[2]].concat()] {
        fs::write(&path, without).unwrap();
        let error = open(&path).unwrap_err();
        assert!(error.to_string().contains("damaged at line"), "{error}");
    }
}

#[test]
fn a_full_disk_leaves_the_revocation_in_force_and_a_lift_undone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("revocations");
    let revocations = open(&path).unwrap();
    let first = revoke(&revocations, "a");
    // A file that may only be read stands for a disk that does not take anything more.
    revocations.ledger().file = File::open(&path).unwrap();
    let (second, kept) = revocations.revoke(token("b"), None, None, NOW).unwrap();
    assert_eq!(kept, Kept::InMemory);
    assert_eq!(revocations.current().len(), 2);
    assert!(matches!(revocations.lift(&first.id, NOW), Err(ChangeError::Unwritable(_))));
    assert_eq!(revocations.list(NOW), [first, second]);
}

#[test]
fn the_list_is_in_the_order_in_which_they_were_made_whatever_the_clock_says() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("revocations");
    let earlier = Timestamp::from_seconds(NOW.seconds() - 3_600);
    let mut made = Vec::new();
    // All within one millisecond, then with a clock that was set back; and the same after a start.
    for now in [NOW, earlier, NOW] {
        let revocations = open(&path).unwrap();
        for _ in 0..100 {
            let name = made.len().to_string();
            made.push(revocations.revoke(token(&name), None, None, now).unwrap().0);
        }
        assert_eq!(revocations.list(NOW), made);
    }
    let ids = made.iter().map(|one| Uuid::try_parse(&one.id).unwrap());
    assert!(ids.into_iter().all(|id| id.get_version_num() == 7), "a UUIDv7 each");
}

#[test]
fn every_change_raises_the_signal() {
    let folder = tempfile::tempdir().unwrap();
    let revocations = open(&folder.path().join("revocations")).unwrap();
    let before = revocations.signal().raised();
    let made = revoke(&revocations, "a");
    revocations.lift(&made.id, NOW).unwrap();
    assert_eq!(revocations.signal().raised(), before + 2);
}
