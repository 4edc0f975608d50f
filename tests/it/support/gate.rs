//! The gate: the built binary, in a directory of its own.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use super::client::{Connection, Response, request};
use super::{Echo, Key, Token, eventually};

/// The identifier of the resource that is served by default.
pub(crate) const SHOP: &str = "https://tools.test/shop";
/// The issuer that is trusted by default.
pub(crate) const ISSUER: &str = "https://as.test";

const OPERATIONS: &str = r#"
[[resource.operation]]
action = "search_products"
method = ["GET", "HEAD"]
path = "/products/**"

[[resource.operation]]
action = "create_order"
method = "POST"
path = "/orders"

[[resource.operation]]
action = "read_order"
method = "GET"
path = "/orders/*"

[[resource.operation]]
action = "anything"
method = ["GET", "POST", "PUT", "PATCH", "DELETE"]
path = "/any/**"
"#;

/// A configuration, by the lines that differ from the common one.
#[derive(Debug)]
pub(crate) struct Setup {
    pub(crate) dir: TempDir,
    pub(crate) key: Key,
    pub(crate) listen: String,
    pub(crate) admin: String,
    /// The identifier of the resource.
    pub(crate) id: String,
    pub(crate) gate: String,
    pub(crate) limits: String,
    /// Where the issuer's keys are.
    pub(crate) keys: String,
    pub(crate) issuer: String,
    pub(crate) url: String,
    pub(crate) upstream: String,
    pub(crate) resource: String,
    pub(crate) operations: String,
    /// Whole tables: further issuers, upstreams and resources.
    pub(crate) more: String,
    pub(crate) audit: String,
    /// A command line in front of the binary's, for `sh`.
    pub(crate) before: String,
}

impl Setup {
    /// The common configuration, in front of `echo`.
    pub(crate) fn new(echo: &Echo) -> Self {
        let setup = Self {
            dir: TempDir::new().unwrap(),
            key: Key::new("ES256", "k1"),
            listen: r#""127.0.0.1:0""#.to_owned(),
            admin: "127.0.0.1:0".to_owned(),
            id: SHOP.to_owned(),
            gate: String::new(),
            limits: String::new(),
            keys: r#"jwks_file = "jwks.json""#.to_owned(),
            issuer: String::new(),
            url: format!("{:?}", echo.url()),
            upstream: String::new(),
            resource: String::new(),
            operations: OPERATIONS.to_owned(),
            more: String::new(),
            audit: String::new(),
            before: String::new(),
        };
        setup.write("jwks.json", &super::jwks::set(&[&setup.key]).to_string());
        setup
    }

    /// Writes a file beside the configuration.
    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        fs::write(&path, text).unwrap();
        path
    }

    /// What `opgate check` says of it, and how it ends.
    pub(crate) fn check(&self) -> (Option<i32>, String) {
        self.write("opgate.toml", &self.text());
        let mut command = Command::new(env!("CARGO_BIN_EXE_opgate"));
        command.args(["check", "-c"]).arg(self.dir.path().join("opgate.toml"));
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
    }

    /// The file.
    pub(crate) fn text(&self) -> String {
        let Self { listen, admin, gate, limits, keys, issuer, url, upstream, id, .. } = self;
        let Self { resource, operations, more, audit, .. } = self;
        format!(
            r#"
[gate]
listen = {listen}
origin = "https://tools.test"
{gate}
[limits]
{limits}
[admin]
listen = "{admin}"
[[issuer]]
issuer = "{ISSUER}"
{keys}
{issuer}
[[upstream]]
name = "shop"
url = {url}
{upstream}
[[resource]]
id = "{id}"
upstream = "shop"
issuers = ["{ISSUER}"]
{resource}
{operations}
{more}
[audit]
directory = "audit"
# A machine that runs many tests at once may take its time to sync.
max_wait = "5s"
{audit}
"#
        )
    }

    /// Starts the gate and waits until it listens.
    pub(crate) fn start(self) -> Gate {
        let mut gate = self.spawn();
        gate.wait();
        gate
    }

    /// Starts the process without waiting for it.
    pub(crate) fn spawn(self) -> Gate {
        self.write("opgate.toml", &self.text());
        let child = spawn(self.dir.path(), &self.before);
        Gate { setup: self, child, addresses: Vec::new(), admin: None }
    }
}

/// A running gate, which is killed when the test ends.
#[derive(Debug)]
pub(crate) struct Gate {
    pub(crate) setup: Setup,
    child: Child,
    addresses: Vec<String>,
    admin: Option<SocketAddr>,
}

fn spawn(dir: &Path, before: &str) -> Child {
    let ready = dir.join("ready.json");
    if ready.exists() {
        fs::remove_file(&ready).unwrap();
    }
    let log = fs::OpenOptions::new().create(true).append(true).open(dir.join("stderr")).unwrap();
    let script = format!("{before}\nexec \"$0\" \"$@\"");
    Command::new("sh")
        .args(["-c", &script, env!("CARGO_BIN_EXE_opgate"), "serve", "-c"])
        .arg(dir.join("opgate.toml"))
        .arg("--ready-file")
        .arg(&ready)
        .current_dir(dir)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap()
}

impl Gate {
    /// Waits until the gate listens.
    pub(crate) fn wait(&mut self) {
        let path = self.path("ready.json");
        let ready: Value = eventually("the ready file", || {
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "the gate ended: {ended:?}\n{}", self.stderr());
            serde_json::from_str(&fs::read_to_string(&path).ok()?).ok()
        });
        let listeners = ready["gate"].as_array().expect("listeners in the ready file");
        self.addresses = listeners.iter().filter_map(Value::as_str).map(str::to_owned).collect();
        self.admin = ready["admin"].as_str().and_then(|address| address.parse().ok());
    }

    /// A file of its directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.setup.dir.path().join(name)
    }

    /// The first TCP address that it listens on.
    pub(crate) fn address(&self) -> SocketAddr {
        self.addresses.iter().find_map(|address| address.parse().ok()).expect("a TCP listener")
    }

    /// Every endpoint that it listens on, as text.
    pub(crate) fn addresses(&self) -> &[String] {
        &self.addresses
    }

    /// What it has logged.
    pub(crate) fn stderr(&self) -> String {
        fs::read_to_string(self.path("stderr")).unwrap_or_default()
    }

    /// A new connection.
    pub(crate) fn connect(&self) -> Connection {
        Connection::open(self.address())
    }

    /// Sends bytes on a connection of their own.
    pub(crate) fn send(&self, bytes: impl AsRef<[u8]>) -> Response {
        self.connect().call(bytes)
    }

    /// A token that covers every operation but `read_order`.
    pub(crate) fn token(&self) -> String {
        Token::new().sign(&self.setup.key)
    }

    /// `GET` with `token`.
    pub(crate) fn get(&self, target: &str, token: &str) -> Response {
        self.send(request("GET", target, &[("Authorization", &format!("Bearer {token}"))], ""))
    }

    /// Asks the admin listener.
    pub(crate) fn admin(&self, method: &str, target: &str) -> Response {
        self.admin_with(method, target, "Host: localhost\r\n")
    }

    /// The same, with these header lines.
    pub(crate) fn admin_with(&self, method: &str, target: &str, lines: &str) -> Response {
        let address = self.admin.expect("an admin listener");
        Connection::open(address).call(format!("{method} {target} HTTP/1.1\r\n{lines}\r\n"))
    }

    /// Where the admin listener is.
    pub(crate) fn admin_address(&self) -> SocketAddr {
        self.admin.expect("an admin listener")
    }

    /// Sends JSON to the admin listener.
    pub(crate) fn admin_json(&self, method: &str, target: &str, body: &Value) -> Response {
        self.admin_body(method, target, "application/json", &body.to_string())
    }

    /// Sends a form to the admin listener.
    pub(crate) fn admin_form(&self, target: &str, body: &str) -> Response {
        self.admin_body("POST", target, "application/x-www-form-urlencoded", body)
    }

    fn admin_body(&self, method: &str, target: &str, kind: &str, body: &str) -> Response {
        let length = body.len();
        let head = format!(
            "{method} {target} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\n\
             Content-Length: {length}\r\n\r\n"
        );
        Connection::open(self.admin_address()).call(head + body)
    }

    /// Starts another process with the same files.
    pub(crate) fn spawn_again(&self) -> Child {
        spawn(self.setup.dir.path(), &self.setup.before)
    }

    /// Sends a signal by name.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }

    /// Kills the process with nothing said to it, and starts it anew.
    pub(crate) fn restart_after_kill(&mut self) {
        self.kill();
        self.child = spawn(self.setup.dir.path(), &self.setup.before);
        self.wait();
    }

    /// Kills the process with nothing said to it.
    pub(crate) fn kill(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }

    /// How the process ended.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        eventually("the end of the process", || self.child.try_wait().unwrap())
    }

    /// Writes the configuration anew, as changed by `edit`.
    pub(crate) fn rewrite(&mut self, edit: impl FnOnce(&mut Setup)) {
        edit(&mut self.setup);
        self.setup.write("opgate.toml", &self.setup.text());
    }

    /// Every record of the journal, in order. A last line that is not complete is left out.
    pub(crate) fn records(&self) -> Vec<Value> {
        records_in(&self.path("audit"))
    }

    /// The decision records.
    pub(crate) fn decisions(&self) -> Vec<Value> {
        self.records().into_iter().filter(|record| record["type"] == "decision").collect()
    }

    /// The decision with this id.
    pub(crate) fn decision(&self, id: &str) -> Value {
        let found = self.decisions().into_iter().find(|record| record["id"] == id);
        found.unwrap_or_else(|| panic!("no decision {id} among {}", self.listing()))
    }

    /// The outcome of the decision with this id, when it is there.
    pub(crate) fn outcome(&self, id: &str) -> Value {
        let seq = self.decision(id)["seq"].clone();
        eventually("an outcome record", || {
            self.records().into_iter().find(|r| r["type"] == "outcome" && r["of"] == seq)
        })
    }

    /// The journal as text, for messages and searches.
    pub(crate) fn listing(&self) -> String {
        self.records().iter().fold(String::new(), |mut text, record| {
            writeln!(text, "{record}").unwrap();
            text
        })
    }
}

/// Every record of a journal directory, in order.
pub(crate) fn records_in(directory: &Path) -> Vec<Value> {
    let Ok(entries) = fs::read_dir(directory.join("seg")) else { return Vec::new() };
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    files.retain(|path| path.extension().is_some_and(|e| e == "jsonl"));
    files.sort();
    let text: String = files.iter().map(|file| fs::read_to_string(file).unwrap()).collect();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.kill();
    }
}
