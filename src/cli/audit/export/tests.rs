use serde_json::json;

use super::*;

/// A log whose records are `lines`, without what all have in common.
fn log(lines: &[&str]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("seg")).unwrap();
    let line = |(seq, rest): (usize, &&str)| {
        format!(
            r#"{{"v":1,"seq":{seq},"ts":"2026-11-23T14:13:2{seq}.000989Z","log":"gw","ep":1,{rest}}}"#
        ) + "\n"
    };
    let text: String = lines.iter().enumerate().map(line).collect();
    std::fs::write(directory.path().join("seg/000000000000.jsonl"), text).unwrap();
    directory
}

const CALLS: [&str; 7] = [
    r#""type":"start""#,
    r#""type":"decision","id":"a","decision":"allow","reason":"granted","agent":{"id":"=cmd()"},"user":{"tag":"h1:u"},"evidence":{"id":"e","confirmed_at":7},"policies":[{"id":"p"},{"sha256":"ab"}],"resource":"shop","op":{"protocol":"http","action":"pay"},"http":{"method":"POST","path":"/a,\"b\""},"client":{"address":"10.1.2.3","port":5},"upstream":"up","us":41"#,
    r#""type":"decision","id":"b","decision":"deny","reason":"expired_token","http":{"method":"GET","path":"/b"},"us":3"#,
    r#""type":"decision","id":"c","decision":"deny","mode":"observe","reason":"no_applicable_grant","http":{"method":"PROPFIND","path":"/c"}"#,
    r#""type":"outcome","of":1,"id":"a","result":"success","http":{"status":201},"us":1500"#,
    r#""type":"aggregate","decision":"deny","reason":"missing_token","source":"10.9.9.9","count":70,"start":"2026-11-23T14:13:10.000000Z","end":"2026-11-23T14:13:19.000000Z""#,
    r#""type":"outcome","of":99,"id":"z","result":"success""#,
];

fn exported(directory: &Path, format: Format, times: [Option<&str>; 2]) -> (Told, String) {
    let [since, until] = times.map(|time| time.map(str::to_owned));
    let log = LogArgs { audit: directory.to_owned() };
    let filter = FilterArgs { since, until, ..FilterArgs::default() };
    let args = ExportArgs { format, output: None, log, filter };
    let filter = args.filter.filter(directory, clock::now()).unwrap();
    let mut into = Vec::new();
    let told = written(&args, &filter, &mut into).unwrap();
    (told, String::from_utf8(into).unwrap())
}

#[test]
fn a_table_has_a_row_for_each_call_and_no_formula() {
    let directory = log(&CALLS);
    let (told, text) = exported(directory.path(), Format::Csv, [None, None]);
    assert_eq!((told.written, told.left_out, told.bad.len()), (4, 1, 0));
    let lines: Vec<_> = text.split_terminator("\r\n").collect();
    assert!(
        lines[0].starts_with("time,log,seq,count,id,decision,mode,reason,about,agent,"),
        "{text}"
    );
    // In the order in which they ended; what has no outcome comes last.
    assert!(
        lines[1].starts_with("2026-11-23T14:13:22.000989Z,gw,2,1,b,deny,,expired_token,,,"),
        "{text}"
    );
    let paid = "2026-11-23T14:13:21.000989Z,gw,1,1,a,allow,,granted,,'=cmd(),,h1:u,,,,e,7,,,p ab,shop,http,pay,POST,\"/a,\"\"b\"\"\",,10.1.2.3,up,,41,success,201,1500,";
    assert_eq!(lines[2], paid);
    assert!(
        lines[3].contains(",70,,deny,,missing_token,") && lines[3].contains(",10.9.9.9,"),
        "{text}"
    );
    assert!(lines[4].contains(",c,deny,observe,no_applicable_grant,"), "{text}");
    assert_eq!(lines.len(), 5);
    for formula in ["=1", "+1", "-1", "@a", "\tx"] {
        assert_eq!(table::harmless(formula), format!("'{formula}"));
    }
    assert_eq!(table::harmless("a=1"), "a=1");
}

#[test]
fn an_event_has_the_classes_of_the_schema_and_nothing_empty() {
    let directory = log(&CALLS);
    let (_, text) = exported(directory.path(), Format::Ocsf, [None, None]);
    let events: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let brief = |event: &Value| {
        json!([
            event["metadata"]["sequence"],
            event["type_uid"],
            event["action_id"],
            event["disposition_id"],
            event["status_id"],
            event["severity_id"]
        ])
    };
    let briefs: Vec<_> = events.iter().map(brief).collect();
    assert_eq!(
        briefs,
        [
            json!([2, 600_302, 2, 2, 2, 2]),
            json!([1, 600_301, 1, 1, 1, 1]),
            json!([5, 600_300, 2, 2, 2, 2]),
            json!([3, 600_399, 3, 17, 0, 2]),
        ]
    );
    let paid = &events[1];
    assert_eq!(paid["time"], 1_795_443_201_000_u64);
    assert_eq!(paid["metadata"]["original_event_uid"], "gw/1");
    assert_eq!(paid["ai_agent"], json!({"uid": "=cmd()"}));
    assert_eq!(paid["actor"], json!({"user": {"uid": "h1:u"}}));
    assert_eq!(paid["http_response"], json!({"code": 201}));
    assert_eq!(paid["authorizations"][1], json!({"decision": "allow", "policy": {"uid": "ab"}}));
    assert_eq!(paid["unmapped"]["opgate"]["evidence"]["confirmed_at"], 7);
    assert_eq!(paid["status_code"], "201");
    let line = std::fs::read_to_string(directory.path().join("seg/000000000000.jsonl")).unwrap();
    let leaf = crate::model::hex::hex(&crate::audit::merkle::leaf(
        line.lines().nth(1).unwrap().as_bytes(),
    ));
    assert_eq!(paid["attestation_list"][0]["fingerprint"]["value"], leaf);
    assert_eq!(
        (&events[2]["count"], &events[2]["status_detail"]),
        (&json!(70), &json!("missing_token"))
    );
    assert!(!text.contains(":null") && !text.contains("{}") && !text.contains("[]"), "{text}");
}

#[test]
fn times_bound_what_is_exported_and_damage_is_told() {
    let directory = log(&CALLS);
    let between = [Some("2026-11-23T15:13:21+01:00"), Some("2026-11-23T14:13:23Z")];
    let (told, text) = exported(directory.path(), Format::Jsonl, between);
    assert_eq!((told.written, text.lines().count()), (2, 2));
    // The outcome of a call comes with it, also when it came later.
    let (told, text) = exported(directory.path(), Format::Csv, between);
    assert!(told.written == 2 && text.contains(",success,201,"), "{text}");
    let path = directory.path().join("seg/000000000000.jsonl");
    let whole = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, whole.replacen("{\"v\"", "{v", 1) + &"nonsense\n".repeat(9)).unwrap();
    let (told, text) = exported(directory.path(), Format::Jsonl, [None, None]);
    assert_eq!((told.written, text.lines().count(), told.bad.len()), (6, 6, MOST_BAD + 1));
    assert!(
        told.bad[0].contains("line 1: not a record") && told.bad[5].contains("5 more"),
        "{told:?}"
    );
}

#[test]
fn a_file_is_there_whole_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("calls.csv");
    std::fs::write(&path, "before").unwrap();
    let failed = beside(&path, |_| Err::<(), _>(anyhow::anyhow!("the disk is full")));
    assert!(format!("{:#}", failed.unwrap_err()).contains("the disk is full"));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "before");
    beside(&path, |file| Ok(file.write_all(b"after")?)).unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "after");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}
