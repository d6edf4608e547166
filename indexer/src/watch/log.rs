//! The output of a watch: lines for people on stderr, or for programs on stdout.

use std::path::Path;
use std::time::Duration;

use bridgetower::ingest::BuildReport;
use bt_cli::{OutputArgs, add_path, add_paths, counted, print_json};
use jiff::ZonedDateTime;
use serde_json::{Value, json};

use crate::build::{as_json, in_words};

pub struct Log<'a> {
    output: &'a OutputArgs,
    as_json: bool,
}

impl<'a> Log<'a> {
    pub fn new(output: &'a OutputArgs, as_json: bool) -> Self {
        Self { output, as_json }
    }

    pub fn watching<'p>(
        &self,
        folders: impl Iterator<Item = &'p Path>,
        photos: usize,
    ) -> anyhow::Result<()> {
        let folders: Vec<_> = folders.collect();
        let words = format!(
            "watching {}, {} in the index",
            folders
                .iter()
                .map(|folder| folder.to_string_lossy())
                .collect::<Vec<_>>()
                .join(", "),
            counted(photos, "photo")
        );
        let mut fields = json!({"event": "watching", "photos": photos});
        add_paths(&mut fields, "folders", folders);
        self.say(&words, &fields)
    }

    pub fn built(&self, report: &BuildReport, photos: usize, took: Duration) -> anyhow::Result<()> {
        let mut fields = as_json(report, photos, took);
        fields["event"] = "built".into();
        self.say(&in_words(report, photos, took), &fields)
    }

    pub fn away(&self, folder: &Path, reason: &str) -> anyhow::Result<()> {
        let path = folder.to_string_lossy();
        let words = format!("waiting for {path}: {reason}; the index keeps what it knows of it");
        let mut fields = json!({"event": "away", "reason": reason});
        add_path(&mut fields, "folder", folder);
        self.say(&words, &fields)
    }

    pub fn back(&self, folder: &Path) -> anyhow::Result<()> {
        let path = folder.to_string_lossy();
        let words = format!("{path} is back");
        let mut fields = json!({"event": "back"});
        add_path(&mut fields, "folder", folder);
        self.say(&words, &fields)
    }

    pub fn busy(&self, pid: u32) -> anyhow::Result<()> {
        let words = format!("waiting for process {pid}, which is changing the index");
        self.say(&words, &json!({"event": "busy", "pid": pid}))
    }

    pub fn stopped(&self, photos: usize) -> anyhow::Result<()> {
        let words = format!("stopped; {} in the index", counted(photos, "photo"));
        self.say(&words, &json!({"event": "stopped", "photos": photos}))
    }

    pub fn warn(&self, problem: &str) {
        self.output.warn(problem);
    }

    fn say(&self, words: &str, fields: &Value) -> anyhow::Result<()> {
        if self.as_json {
            return print_json(fields);
        }
        let now = ZonedDateTime::now();
        let now = now.strftime("%H:%M:%S");
        self.output.say(format_args!("{now}  {words}"));
        Ok(())
    }
}
