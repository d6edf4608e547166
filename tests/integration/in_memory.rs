//! Builds and searches on another store than the local one: the plainest that there can be, in memory.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use bridgetower::index::{Changes, Hit, ModelIdentity, ReadIndex, WriteIndex};
use bridgetower::ingest::{BuildOptions, BuildReport, build, survey};
use bridgetower::photo::{ContentHash, PhotoId};
use bridgetower::search::Query;
use bridgetower::{Embedding, Engine, Error, Filter, Photo, Result, Session, Term};

use crate::fixtures::{engine, fixture};

/// Photos with their embeddings.
type Records = BTreeMap<PhotoId, (Photo, Embedding)>;

/// What was published, and how often.
#[derive(Clone, Default)]
struct Published {
    generation: u64,
    records: Records,
}

/// The store, in the hands of whoever has a clone.
type Store = Arc<Mutex<Published>>;

/// A published state.
struct Reader {
    store: Store,
    model: ModelIdentity,
    state: Published,
}

/// The one builder.
#[derive(Default)]
struct Writer {
    store: Store,
    records: Records,
    roots: Vec<PathBuf>,
    next: u64,
}

impl Reader {
    fn open(store: &Store, model: &ModelIdentity) -> Self {
        Self {
            store: Arc::clone(store),
            model: model.clone(),
            state: store.lock().expect("no panic").clone(),
        }
    }
}

impl ReadIndex for Reader {
    fn model(&self) -> &ModelIdentity {
        &self.model
    }

    fn check_model(&self, given: &ModelIdentity) -> Result<()> {
        if *given == self.model {
            return Ok(());
        }
        Err(Error::OtherModel {
            path: "memory".into(),
            built_with: self.model.name.clone(),
            given: given.name.clone(),
        })
    }

    fn generation(&self) -> u64 {
        self.state.generation
    }

    fn len(&self) -> usize {
        self.state.records.len()
    }

    fn nearest(&self, query: &Embedding, k: usize, filter: &Filter) -> Result<Vec<Hit>> {
        let records = self.state.records.iter();
        let passing = records.filter(|(_, (photo, _))| filter.matches(photo));
        let mut hits: Vec<Hit> = passing
            .map(|(&id, (photo, embedding))| Hit {
                id,
                photo: photo.clone(),
                similarity: query.cosine(embedding),
                match_probability: None,
            })
            .collect();
        hits.sort_by(|a, b| b.similarity.total_cmp(&a.similarity));
        hits.truncate(k);
        Ok(hits)
    }

    fn count(&self, filter: &Filter) -> Result<usize> {
        let records = self.state.records.values();
        Ok(records.filter(|(photo, _)| filter.matches(photo)).count())
    }

    fn photos(&self) -> Box<dyn Iterator<Item = Result<(PhotoId, Photo)>> + '_> {
        let records = self.state.records.iter();
        Box::new(records.map(|(&id, (photo, _))| Ok((id, photo.clone()))))
    }

    fn photo(&self, id: PhotoId) -> Result<Option<Photo>> {
        Ok(self.state.records.get(&id).map(|(photo, _)| photo.clone()))
    }

    fn newer(&self) -> Result<Option<Arc<dyn ReadIndex>>> {
        let latest = Self::open(&self.store, &self.model);
        let is_newer = latest.generation() > self.generation();
        Ok(is_newer.then(|| Arc::new(latest) as Arc<dyn ReadIndex>))
    }
}

impl WriteIndex for Writer {
    fn len(&self) -> usize {
        self.records.len()
    }

    fn roots(&self) -> &[PathBuf] {
        &self.roots
    }

    fn photos(&self) -> Box<dyn Iterator<Item = Result<(PhotoId, Cow<'_, Photo>)>> + '_> {
        let records = self.records.iter();
        Box::new(records.map(|(&id, (photo, _))| Ok((id, Cow::Borrowed(photo)))))
    }

    fn photo(&self, id: PhotoId) -> Result<Option<Cow<'_, Photo>>> {
        Ok(self.records.get(&id).map(|(photo, _)| Cow::Borrowed(photo)))
    }

    fn by_path(&self, path: &Path) -> Result<Option<(PhotoId, Cow<'_, Photo>)>> {
        let mut records = self.records.iter();
        let found = records.find(|(_, (photo, _))| photo.path == path);
        Ok(found.map(|(&id, (photo, _))| (id, Cow::Borrowed(photo))))
    }

    fn by_content(&self, hash: ContentHash) -> Result<Cow<'_, [PhotoId]>> {
        let records = self.records.iter();
        let same = records.filter(|(_, (photo, _))| photo.content_hash == hash);
        Ok(Cow::Owned(same.map(|(&id, _)| id).collect()))
    }

    fn commit(&mut self, changes: Changes) -> Result<()> {
        let copies: Vec<(Photo, Embedding)> = changes
            .copy
            .into_iter()
            .map(|(photo, source)| (photo, self.records[&source].1.clone()))
            .collect();
        for id in changes.remove {
            self.records.remove(&id);
        }
        for (id, photo) in changes.update {
            self.records.get_mut(&id).expect("is there").0 = photo;
        }
        for record in changes.insert.into_iter().chain(copies) {
            self.records.insert(PhotoId(self.next), record);
            self.next += 1;
        }
        if let Some(roots) = changes.roots {
            self.roots = roots;
        }
        Ok(())
    }

    fn publish(&mut self) -> Result<()> {
        let mut published = self.store.lock().expect("no panic");
        published.generation += 1;
        published.records.clone_from(&self.records);
        Ok(())
    }

    fn tidy(&mut self, _: &AtomicBool, _: &mut dyn FnMut(usize, usize)) -> Result<()> {
        Ok(())
    }
}

fn run(writer: &mut Writer, engine: &Engine, photos: &Path) -> BuildReport {
    let (options, never) = (BuildOptions::default(), AtomicBool::new(false));
    let folders = [photos.to_owned()];
    build(writer, engine, &folders, &options, &never, &mut |_| {}).expect("builds")
}

fn name(hit: &Hit) -> &str {
    let name = hit.photo.path.file_name();
    name.and_then(|name| name.to_str()).expect("UTF-8")
}

#[test]
fn builds_and_searches_run_on_another_store() {
    let (engine, dir) = (
        Arc::new(engine("tiny-random")),
        tempfile::tempdir().expect("tempdir"),
    );
    let at = |name: &str| dir.path().join(name);
    let copy = |from: &str, to: &str| {
        fs::copy(fixture("pixels").join(from), at(to)).expect("copies");
    };
    for picture in ["gray.png", "landscape.png", "portrait.png", "wide.png"] {
        copy(picture, picture);
    }
    fs::write(at("broken.jpg"), b"no picture").expect("writes");
    let model = engine.identity().expect("ITC");
    let mut writer = Writer::default();

    let first = run(&mut writer, &engine, dir.path());
    assert_eq!((first.embedded, first.skipped.len()), (4, 1));
    let again = run(&mut writer, &engine, dir.path());
    assert_eq!((again.embedded, again.unchanged), (0, 4));

    let reader = Arc::new(Reader::open(&writer.store, &model));
    let (embedder, reranker) = (Arc::clone(&engine), Some(Arc::clone(&engine)));
    let session = Session::new(reader, embedder, reranker, None).expect("the same model");
    let ask = |query: &Query| {
        let found = session.search(query, &AtomicBool::new(false), &mut |_| {});
        found.expect("searches")
    };
    let found = ask(&Query::text("a cat"));
    assert_eq!((found.hits.len(), found.reranked), (4, 4));
    let looks = Query {
        terms: vec![Term::image(at("portrait.png"))],
        ..Query::default()
    };
    assert_eq!(name(&ask(&looks).hits[0]), "portrait.png");

    // One moves, one is edited, one goes, one comes.
    fs::rename(at("portrait.png"), at("moved.png")).expect("renames");
    copy("square.png", "wide.png");
    fs::remove_file(at("gray.png")).expect("removes");
    copy("alpha.png", "alpha.png");
    let (folders, options) = ([dir.path().to_owned()], BuildOptions::default());
    let survey = survey(&*session.index(), &folders, &options).expect("looks");
    // The broken file, and the moved one twice: where it was, and where it is.
    assert_eq!(survey.changes, 6);
    let changed = run(&mut writer, &engine, dir.path());
    assert_eq!(
        (changed.embedded, changed.recognised, changed.removed),
        (2, 1, 1)
    );

    assert_eq!(ask(&looks_like(&at("moved.png"))).photos, 4);
    assert!(session.refresh().expect("looks"));
    assert!(!session.refresh().expect("looks"));
    assert_eq!(
        name(&ask(&looks_like(&at("moved.png"))).hits[0]),
        "moved.png"
    );
    let found = ask(&Query::text("a cat"));
    let mut names: Vec<&str> = found.hits.iter().map(name).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        ["alpha.png", "landscape.png", "moved.png", "wide.png"]
    );
    let tall = Query {
        filter: serde_json::from_value(serde_json::json!({"path": ["moved.*"]})).expect("a filter"),
        ..Query::text("a cat")
    };
    assert_eq!(ask(&tall).hits.len(), 1);
}

fn looks_like(path: &Path) -> Query {
    Query {
        terms: vec![Term::image(path.to_owned())],
        ..Query::default()
    }
}

#[test]
fn a_session_refuses_another_model_on_any_store() {
    let engine = Arc::new(engine("tiny-random"));
    let other = ModelIdentity {
        fingerprint: "another".into(),
        ..engine.identity().expect("ITC")
    };
    let reader = Arc::new(Reader::open(&Store::default(), &other));
    let refused = Session::new(reader, engine, None, None);
    assert!(matches!(refused, Err(Error::OtherModel { .. })));
}
