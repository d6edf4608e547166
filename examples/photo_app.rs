//! The core of a photo app: builds an index in the background and answers queries meanwhile.
//!
//! `cargo run --release --features demo --example photo_app FOLDER INDEX "a cat by a window" "a boat"`

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread::{scope, sleep};
use std::time::Duration;

use bridgetower::engine::EngineOptions;
use bridgetower::ingest::{BuildEvent, BuildOptions, build};
use bridgetower::search::Query;
use bridgetower::{Engine, Index, Result, Session};

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [photos, dir, queries @ ..] = arguments.as_slice() else {
        panic!("give a folder of photos, a folder for the index, and queries");
    };
    let (index, folders) = (Index::at(dir), [photos.into()]);
    let options = EngineOptions::default();
    let engine = Arc::new(Engine::load("demo", &options, &mut |_, _, _| {})?);
    // For a window's close button: a build commits what it has, and the next one goes on from there.
    let cancel = AtomicBool::new(false);

    scope(|threads| {
        let builder = threads.spawn(|| {
            let mut writer = index.writer(&engine.identity()?)?;
            let options = BuildOptions::default();
            let mut show = |event: BuildEvent| eprintln!("{event:?}");
            build(&mut writer, &engine, &folders, &options, &cancel, &mut show)
        });
        while index.generation()?.is_none() && !builder.is_finished() {
            sleep(Duration::from_millis(50));
        }
        if let Ok(reader) = index.reader() {
            let (embedder, reranker) = (Arc::clone(&engine), Some(Arc::clone(&engine)));
            let session = Session::new(Arc::new(reader), embedder, reranker, None)?;
            scope(|threads| {
                for queries in queries.chunks(queries.len().div_ceil(4).max(1)) {
                    threads.spawn(|| answer(&session, queries, &cancel).expect("answers"));
                }
            });
        }
        let report = builder.join().expect("a build does not panic")?;
        eprintln!("{} photos embedded", report.embedded);
        Ok(())
    })
}

fn answer(session: &Session, queries: &[String], cancel: &AtomicBool) -> Result<()> {
    for words in queries {
        session.refresh()?; // takes up what the build has published meanwhile
        let found = session.search(&Query::text(words), cancel, &mut |_| {})?;
        println!("{}", serde_json::to_string(&found).expect("it is JSON"));
    }
    Ok(())
}
