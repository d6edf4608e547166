//! Queries from stdin and files.

use serde_json::Value;

use crate::{World, json, refused, stdout};

const LINES: &str = "a cat\n\n  12:30 clock \r\n./photos/square.png\n";

/// The JSON documents that a run with `arguments` and `stdin` prints, a line each.
fn documents(world: &World, arguments: &[&str], stdin: &str, code: i32) -> Vec<Value> {
    let mut command = world.bt_query(["--no-rerank"]);
    let assert = command
        .args(arguments)
        .write_stdin(stdin)
        .assert()
        .code(code);
    let text = String::from_utf8(assert.get_output().stdout.clone()).expect("UTF-8");
    let document = |line| serde_json::from_str(line).expect("JSON");
    text.lines().map(document).collect()
}

#[test]
fn a_query_comes_from_stdin() {
    let world = World::new();
    let mut command = world.bt_query(["-", "--no-rerank", "--json"]);
    let piped = json(&mut command.write_stdin("a cat\n").assert().success());
    assert_eq!(piped["query"], "a cat");
    assert_eq!(
        Value::from(world.hits(["a cat", "--no-rerank"])),
        piped["hits"]
    );
    refused(
        world.bt_query(["-"]).write_stdin("\n"),
        "the query is empty",
    );
    refused(world.bt_query(["-"]).write_stdin(LINES), "--queries -");
}

#[test]
fn each_line_is_asked_as_it_would_be_alone() {
    let world = World::new();
    std::fs::write(world.dir.path().join("queries.txt"), LINES).expect("writes");
    for form in ["--json", "--jsonl"] {
        let piped = documents(&world, &["--queries", "-", form], LINES, 0);
        let read = documents(&world, &["--queries", "queries.txt", form], "", 0);
        assert_eq!(piped, read, "{form}");
        assert_eq!(piped.len(), 3);
        for (answer, typed) in piped
            .iter()
            .zip(["a cat", "12:30 clock", "./photos/square.png"])
        {
            let mut alone = world.bt_query([typed, "--no-rerank", "--json"]);
            assert_eq!(*answer, json(&mut alone.assert().success()), "{form}");
        }
    }
    let subtracted = documents(
        &world,
        &["--queries", "-", "--json", "-s", "dogs"],
        LINES,
        0,
    );
    assert_eq!(subtracted[1]["terms"][0]["weight"], 12.0);
    assert_eq!(subtracted[1]["terms"][1]["text"], "dogs");
}

#[test]
fn hits_of_several_queries_are_told_apart() {
    let world = World::new();
    let asked = |flag: &[&str]| {
        let mut command = world.bt_query(["--no-rerank", "--top", "2", "--queries", "-"]);
        stdout(command.args(flag).write_stdin("a cat\na dog\n"))
    };
    let columns = |text: &str| -> Vec<String> {
        let first = |line: &str| line.split(['\t', ',']).next().map(str::to_owned);
        text.lines().filter_map(first).collect()
    };
    assert_eq!(columns(&asked(&[])), ["a cat", "a cat", "a dog", "a dog"]);
    let csv = asked(&["--csv"]);
    assert!(csv.starts_with("query,rank,score,"), "{csv}");
    assert_eq!(
        columns(&csv)[1..],
        ["\"a cat\"", "\"a cat\"", "\"a dog\"", "\"a dog\""]
    );
    assert_eq!(asked(&["-f"]).lines().count(), 4);
}

#[test]
fn a_query_that_fails_does_not_stop_the_others() {
    let world = World::new();
    let lines = "./no-such.png\na cat\n";
    let answers = documents(&world, &["--queries", "-", "--json"], lines, 2);
    assert_eq!(answers[0]["query"], "./no-such.png");
    assert!(
        answers[0]["error"]
            .as_str()
            .is_some_and(|e| e.contains("No such file"))
    );
    assert_eq!(answers[1]["query"], "a cat");
    let mut command = world.bt_query(["--no-rerank", "--quiet", "-f", "--queries", "-"]);
    let output = command
        .write_stdin(lines)
        .assert()
        .code(2)
        .get_output()
        .clone();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        stderr.starts_with("error: ./no-such.png: ") && stderr.contains("\nhint: "),
        "{stderr}"
    );
    assert!(!output.stdout.is_empty());

    let nothing = ["--queries", "-", "--json", "--camera", "none"];
    assert_eq!(
        documents(&world, &nothing, "a cat\n", 1)[0]["hits"],
        Value::Array(vec![])
    );
    assert_eq!(
        documents(&world, &["--queries", "-"], "\n", 1),
        Vec::<Value>::new()
    );
    refused(
        &mut world.bt_query(["--queries", "missing.txt"]),
        "missing.txt",
    );
    refused(
        &mut world.bt_query(["a cat", "--queries", "-"]),
        "cannot be used with",
    );
}

/// A program may ask, read the answer, and ask again.
#[test]
fn an_answer_comes_before_the_next_query_is_needed() {
    use std::io::{BufRead, BufReader, Write};
    use std::process::Stdio;
    let world = World::new();
    let mut child = crate::program()
        .args(["--no-rerank", "--json", "--queries", "-", "--index"])
        .arg(world.index())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("starts");
    let mut stdin = child.stdin.take().expect("is piped");
    let mut lines = BufReader::new(child.stdout.take().expect("is piped")).lines();
    for query in ["a cat", "a dog"] {
        writeln!(stdin, "{query}").expect("writes");
        let line = lines.next().expect("an answer").expect("reads");
        let answer: Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(answer["query"], query);
    }
    drop(stdin);
    assert!(child.wait().expect("ends").success());
}
