use super::*;
use crate::audit::merkle::{Nodes as _, leaf};

const NOW: Timestamp = Timestamp::from_seconds(1_790_000_000);

fn append(path: PathBuf, bytes: &[u8]) {
    let mut file = OpenOptions::new().append(true).create(true).open(path).unwrap();
    file.write_all(bytes).unwrap();
}

/// What a crash leaves.
type Crash = dyn Fn(&Log);

/// A log of records, in segments of `each`.
struct Log {
    directory: tempfile::TempDir,
    each: u64,
    size: u64,
}

impl Log {
    fn of(size: u64, each: u64) -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join(segment::DIRECTORY)).unwrap();
        let mut log = Self { directory, each, size: 0 };
        log.grow(size);
        log
    }

    fn grow(&mut self, by: u64) {
        for seq in self.size..self.size + by {
            let name = segment::name(seq / self.each * self.each);
            let path = self.path().join(segment::DIRECTORY).join(name);
            let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
            file.write_all(format!("{}\n", record(seq)).as_bytes()).unwrap();
        }
        self.size += by;
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn tree(&self, file: &str) -> PathBuf {
        self.path().join(tree::DIRECTORY).join(file)
    }

    fn open(&self) -> Result<Sealer, SealError> {
        Sealer::open(self.path(), None, ("gate", NOW), self.size)
    }

    fn seal(&self) {
        self.open().unwrap().seal(self.size, true).unwrap();
    }

    fn checkpoint(&self) -> Checkpoint {
        let verifier = fs::read_to_string(self.tree(VERIFIER)).unwrap();
        let note = fs::read_to_string(self.tree(CHECKPOINT)).unwrap();
        Checkpoint::open(&note, &Verifier::parse(&verifier).unwrap()).unwrap()
    }

    fn expected(&self) -> Checkpoint {
        let mut edge = Edge::default();
        for seq in 0..self.size {
            edge.push(leaf(record(seq).as_bytes()), |_, _| {});
        }
        let origin = format!("gate/{}", NOW.seconds()).into();
        Checkpoint { origin, size: self.size, root: edge.root() }
    }
}

fn record(seq: u64) -> String {
    format!("{{\"seq\":{seq}}}")
}

#[test]
fn evi_014_what_is_sealed_is_the_tree_of_the_records_however_often_it_was_stopped() {
    let mut log = Log::of(3, 100);
    for grown in [0, 1, 250, 255, 1, 70, 0, 300] {
        log.grow(grown);
        log.seal();
        assert_eq!(log.checkpoint(), log.expected());
    }
    let mut sealer = log.open().unwrap();
    for grown in [1, 99, 100, 1_000] {
        log.grow(grown);
        sealer.seal(log.size, false).unwrap();
        assert_eq!(log.checkpoint(), log.expected());
    }
    let levels = Levels::peek(log.path()).unwrap();
    assert_eq!(levels.node(0, 7).unwrap(), leaf(record(7).as_bytes()));
    assert_eq!(fs::metadata(log.tree("1")).unwrap().len(), 32 * (log.size / 256));
    let mode = std::os::unix::fs::PermissionsExt::mode;
    let mode = |path: PathBuf| mode(&fs::metadata(path).unwrap().permissions()) & 0o777;
    assert_eq!((mode(log.tree(KEY)), mode(log.path().join(tree::DIRECTORY))), (0o600, 0o700));
}

#[test]
fn evi_014_wherever_a_crash_was_the_next_start_comes_to_the_same_tree() {
    let crashes: [(&str, &Crash); 6] = [
        ("hashes behind the checkpoint", &|log| append(log.tree("0"), &[7; 320])),
        ("half a hash", &|log| append(log.tree("0"), &[7; 17])),
        ("a level that is not begun", &|log| append(log.tree("2"), &[7; 32])),
        ("a checkpoint that is not published", &|log| append(log.tree("checkpoint.new"), b"half")),
        ("hashes that did not come to the disk", &|log| {
            fs::write(log.tree("0"), [0; 64]).unwrap();
        }),
        ("a level that is gone", &|log| fs::remove_file(log.tree("1")).unwrap()),
    ];
    for (case, crash) in crashes {
        let mut log = Log::of(600, 100);
        log.seal();
        crash(&log);
        log.grow(30);
        log.seal();
        assert_eq!(log.checkpoint(), log.expected(), "{case}");
        let levels = Levels::peek(log.path()).unwrap();
        assert_eq!(Edge::of(log.size, &levels).unwrap().root(), log.expected().root, "{case}");
    }
}

#[test]
fn evi_014_a_log_that_was_rolled_back_changed_or_signed_by_others_is_refused() {
    let sealed = || {
        let log = Log::of(300, 100);
        log.seal();
        log
    };
    let mut log = sealed();
    log.size = 299;
    assert!(matches!(log.open(), Err(SealError::RolledBack { records: 299, size: 300, .. })));
    // Whoever changes a record takes the hashes away too, so that they are made again.
    let log = sealed();
    let segment = log.path().join(segment::DIRECTORY).join(segment::name(100));
    let text = fs::read_to_string(&segment).unwrap();
    fs::write(&segment, text.replace("107", "108")).unwrap();
    fs::remove_file(log.tree("0")).unwrap();
    assert!(matches!(log.open(), Err(SealError::Changed { .. })));
    let log = sealed();
    fs::write(log.tree(KEY), "00".repeat(32)).unwrap();
    let verifier = fs::read(log.tree(VERIFIER)).unwrap();
    assert!(matches!(log.open(), Err(SealError::Foreign { .. })));
    // Whoever reviews the log then still has the key that it was signed with.
    assert_eq!(fs::read(log.tree(VERIFIER)).unwrap(), verifier);
    let mut log = sealed();
    let note = fs::read_to_string(log.tree(CHECKPOINT)).unwrap();
    fs::write(log.tree(CHECKPOINT), note.replace("\n300\n", "\n299\n")).unwrap();
    assert!(matches!(log.open(), Err(SealError::Foreign { .. })));
    log.grow(5);
    fs::write(log.tree(CHECKPOINT), &note).unwrap();
    log.seal();
    fs::remove_file(log.tree(CHECKPOINT)).unwrap();
    assert!(matches!(log.open(), Err(SealError::Foreign { .. })));
    let log = sealed();
    fs::write(log.tree(KEY), "not a key").unwrap();
    assert!(matches!(log.open(), Err(SealError::Key { .. })));
}

#[test]
fn a_history_is_read_note_by_note() {
    let mut log = Log::of(1, 10);
    for _ in 0..3 {
        log.seal();
        log.grow(1);
    }
    let history = fs::read_to_string(log.tree(HISTORY)).unwrap();
    let verifier = Verifier::parse(&fs::read_to_string(log.tree(VERIFIER)).unwrap()).unwrap();
    let sizes: Vec<u64> =
        notes(&history).map(|note| Checkpoint::open(note, &verifier).unwrap().size).collect();
    assert_eq!(sizes, [1, 2, 3]);
    // What a crash has cut short is no note.
    assert_eq!(notes(history.get(..history.len() - 9).unwrap()).count(), 2);
}
