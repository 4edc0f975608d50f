//! From the path of the file to a [`Config`] whose files and secrets are known to be there.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::problem::{Place, Problem, Problems};
use super::reading::Reading;
use super::secret::{Reference, SecretError};
use super::{Config, parse};

/// The largest file that is read: no configuration is larger, and a wrong path may be endless.
const LARGEST: u64 = 4 * 1_024 * 1_024;

/// Reads a configuration, and opens every file and reads every secret that it names; `environment`
/// looks up variables. Relative paths are relative to the folder of the file.
pub fn load(path: &Path, environment: &dyn Fn(&str) -> Option<String>) -> Result<Config, Problems> {
    let of_file = |message: String| Problems::one(Problem::of_file(path, message));
    let text = text(path).map_err(of_file)?;
    let absolute = std::path::absolute(path).map_err(|error| of_file(why(&error)))?;
    let mut reading = Reading::new(&text, path, parse::folder(&absolute));
    reading.opens = true;
    let config = parse::read(&text, &mut reading);
    check_files(&mut reading);
    check_secrets(&mut reading, environment);
    reading.finish(config, path)
}

fn text(path: &Path) -> Result<String, String> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(LARGEST + 1).read_to_end(&mut bytes))
        .map_err(|error| format!("cannot be read: {}", why(&error)))?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > LARGEST) {
        return Err(format!("is larger than {LARGEST} bytes"));
    }
    String::from_utf8(bytes).map_err(|error| {
        format!("is not UTF-8: byte {} is wrong", error.utf8_error().valid_up_to())
    })
}

fn check_files(reading: &mut Reading<'_>) {
    for file in std::mem::take(&mut reading.files) {
        // What it is comes first: to open a pipe is to wait for whoever writes to it.
        let found = fs::metadata(&file.path).and_then(|found| {
            if found.is_file() { File::open(&file.path).map(|_| found) } else { Ok(found) }
        });
        match found {
            Ok(found) if !found.is_file() => {
                reading
                    .problems
                    .add(&file.place, format!("`{}` is not a file", file.path.display()));
            }
            Ok(_) if file.private => warn_if_readable(&file.path, &file.place, reading),
            Ok(_) => {}
            Err(error) => {
                let message = format!("`{}` cannot be read: {}", file.path.display(), why(&error));
                reading.problems.add(&file.place, message);
            }
        }
    }
}

fn check_secrets(reading: &mut Reading<'_>, environment: &dyn Fn(&str) -> Option<String>) {
    for (place, reference) in std::mem::take(&mut reading.secrets) {
        match (reference.read(environment), &reference) {
            (Ok(_), Reference::File(path)) => warn_if_readable(path, &place, reading),
            (Ok(_), Reference::Env(_)) => {}
            (Err(SecretError::File(error)), Reference::File(path)) => {
                let message = format!("`{}` cannot be read: {}", path.display(), why(&error));
                reading.problems.add(&place, message);
            }
            (Err(error), _) => reading.problems.add(&place, error.to_string()),
        }
    }
}

/// Everyone on the machine could take a secret that everyone can read.
fn warn_if_readable(path: &Path, place: &Place, reading: &mut Reading<'_>) {
    const OTHERS_READ: u32 = 0o004;
    if fs::metadata(path).is_ok_and(|found| found.permissions().mode() & OTHERS_READ != 0) {
        let message = format!("everyone on the machine can read `{}`", path.display());
        reading.problems.warn(place, message, "make it readable for its owner only: `chmod 600`");
    }
}

fn why(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        kind => kind.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn example(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/examples").join(name)
    }

    fn loaded(path: &Path) -> Config {
        let environment = |name: &str| {
            ["ORDERS_TOKEN", "BILLING_KEY"].contains(&name).then(|| "sample".to_owned())
        };
        load(path, &environment).unwrap_or_else(|problems| panic!("{problems}"))
    }

    #[test]
    fn the_examples_load() {
        for name in ["a2a", "sidecar", "gateway", "behind-proxy", "mcp"] {
            let config = loaded(&example(name).join("opgate.toml"));
            assert!(config.audit.directory.is_absolute(), "{name}");
        }
    }

    #[test]
    fn the_example_of_an_edge_loads_with_a_certificate() {
        let folder = tempfile::tempdir().unwrap();
        let made = rcgen::generate_simple_self_signed(["tools.example.com".to_owned()]).unwrap();
        let key = made.signing_key.serialize_pem();
        for (name, text) in [
            ("tls.crt", made.cert.pem()),
            ("agents.pem", made.cert.pem()),
            ("tls.key", key),
            ("opgate.toml", fs::read_to_string(example("tls-edge").join("opgate.toml")).unwrap()),
        ] {
            fs::write(folder.path().join(name), text).unwrap();
        }
        let key = folder.path().join("tls.key");
        fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
        let config = loaded(&folder.path().join("opgate.toml"));
        assert_eq!(config.gate.tls.unwrap().key, key);
        let warned: Vec<&str> = config.warnings.iter().map(|w| w.key.as_str()).collect();
        assert_eq!(warned, ["gate.tls.key"]);
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(loaded(&folder.path().join("opgate.toml")).warnings, []);
    }

    #[test]
    fn files_and_secrets_that_are_not_there_are_problems_beside_all_others() {
        let folder = tempfile::tempdir().unwrap();
        let text = fs::read_to_string(example("gateway").join("opgate.toml")).unwrap();
        let path = folder.path().join("opgate.toml");
        fs::write(&path, text.replace("\"256KiB\"", "\"256KB\"")).unwrap();
        let problems = load(&path, &|_| None).unwrap_err();
        let keys: Vec<&str> = problems.all().iter().map(|problem| problem.key.as_str()).collect();
        let expected = [
            "issuer[0].jwks_file",
            "upstream[0].credential.secret.env",
            "upstream[1].credential.secret.env",
            "resource[0].body_limit",
        ];
        assert_eq!(keys, expected, "{problems}");
    }

    #[test]
    fn a_file_that_cannot_be_read_is_a_problem() {
        let folder = tempfile::tempdir().unwrap();
        let message = |path: &Path| load(path, &|_| None).unwrap_err().all()[0].message.clone();
        assert_eq!(message(&folder.path().join("none")), "cannot be read: there is no such file");
        let path = folder.path().join("latin1.toml");
        fs::write(&path, b"# caf\xe9\n").unwrap();
        assert_eq!(message(&path), "is not UTF-8: byte 5 is wrong");
        assert_eq!(message(Path::new("/dev/zero")), "is larger than 4194304 bytes");
    }
}
