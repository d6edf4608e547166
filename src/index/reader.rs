//! Searching: on the mapped snapshot, in any number of threads and processes, also during a build.

use std::collections::BinaryHeap;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use bt_kernels::DotProduct;
use rayon::prelude::*;

use super::hit::Hit;
use crate::embedding::Embedding;
use crate::error::{Error, Result};
use crate::identity::ModelIdentity;
use crate::index::folder::files;
use crate::index::graph::flat::Effort;
use crate::index::graph::similarity::Scored;
use crate::index::predicate::PhotoPredicate;
use crate::index::snapshot::Snapshot;
use crate::index::strategy::{Course, Plan, Sample, Work};
use crate::photo::{Photo, PhotoId};

/// Rows kept during a graph search (`ef`) where the caller does not say. Finds all of the 10 best and 99 %
/// of the 100 best among 100,000 clustered vectors (`benches/hnsw_recall.rs`).
const DEFAULT_EF: usize = 200;
/// A publication may remove the snapshot between our reading its name and opening it.
const OPEN_ATTEMPTS: usize = 20;
const OPEN_PAUSE: Duration = Duration::from_millis(5);

/// A complete, committed state of an index. It stays as it is for as long as the reader lives; open
/// another one to see later changes.
#[derive(Debug)]
pub struct IndexReader {
    dir: PathBuf,
    snapshot: Snapshot,
}

/// Options of a search.
#[derive(Clone, Copy, Default)]
pub struct SearchOptions<'a> {
    /// Rows to keep while searching the graph: more finds more and takes longer. 200 where `None`; never
    /// less than the number of photos wanted.
    pub ef: Option<usize>,
    /// Which photos may be found; all where `None`.
    pub filter: Option<&'a PhotoPredicate<'a>>,
    /// The plan; others than the cheapest are for measurements.
    pub plan: Plan,
}

impl IndexReader {
    /// Opens what was last published in `dir`. Checks the whole file.
    ///
    /// [`Error::NoIndex`] if nothing was, [`Error::Corrupt`] if a byte is not what was written.
    pub fn open(dir: &Path) -> Result<Self> {
        for _ in 0..OPEN_ATTEMPTS {
            let Some(generation) = files::published_generation(dir)? else {
                return Err(Error::NoIndex {
                    path: dir.to_owned(),
                });
            };
            let path = files::snapshot_path(dir, generation);
            match Snapshot::open(&path) {
                Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                    sleep(OPEN_PAUSE);
                }
                Ok(snapshot) if snapshot.generation != generation => {
                    return Err(Error::Corrupt {
                        path,
                        reason: "it has another one's name".into(),
                    });
                }
                opened => {
                    return opened.map(|snapshot| Self {
                        dir: dir.to_owned(),
                        snapshot,
                    });
                }
            }
        }
        Err(Error::Corrupt {
            path: dir.to_owned(),
            reason: "its current snapshot is missing".into(),
        })
    }

    /// A newer published state; `None` if this is the newest. Reads one small file where nothing changed.
    pub fn newer(&self) -> Result<Option<Self>> {
        if files::published_generation(&self.dir)? == Some(self.generation()) {
            return Ok(None);
        }
        let latest = Self::open(&self.dir)?;
        Ok((latest.generation() != self.generation()).then_some(latest))
    }

    /// The model that the index was built with.
    pub fn model(&self) -> &ModelIdentity {
        &self.snapshot.info.model
    }

    /// Refuses a model or preprocessing other than the one that the index was built with.
    pub fn check_model(&self, given: &ModelIdentity) -> Result<()> {
        self.model().check(given, &self.dir)
    }

    /// Grows with every published change.
    pub fn generation(&self) -> u64 {
        self.snapshot.generation
    }

    /// The number of photos.
    pub fn len(&self) -> usize {
        self.snapshot.photo_ids().len()
    }

    /// Whether there are no photos.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The `k` photos most similar to the query, best first, fewer only if the filter lets fewer pass.
    ///
    /// Approximate where the index has a graph and the filter lets enough pass, exact otherwise.
    pub fn search(&self, query: &Embedding, k: usize, options: &SearchOptions) -> Result<Vec<Hit>> {
        self.check_dim(query)?;
        let course = self.course(query, k, options)?;
        self.follow(course, query, k, options)
    }

    /// Like [`search`](Self::search), exact.
    pub fn search_exact(
        &self,
        query: &Embedding,
        k: usize,
        filter: Option<&PhotoPredicate>,
    ) -> Result<Vec<Hit>> {
        let options = SearchOptions {
            filter,
            plan: Plan::Scan,
            ..SearchOptions::default()
        };
        self.search(query, k, &options)
    }

    /// The number of photos that pass a filter.
    pub fn count(&self, filter: &PhotoPredicate) -> Result<usize> {
        self.passing(filter).map(|positions| positions.len())
    }

    /// All photos, by ascending id.
    pub fn photos(&self) -> impl Iterator<Item = Result<(PhotoId, Photo)>> {
        let positions = 0..self.len() as u32;
        positions.map(|position| Ok((self.snapshot.photo_id(position), self.photo_at(position)?)))
    }

    /// One photo; `None` if the index does not have it.
    pub fn photo(&self, id: PhotoId) -> Result<Option<Photo>> {
        self.snapshot
            .position(id)
            .map(|position| self.photo_at(position))
            .transpose()
    }

    /// The embedding of a photo; `None` if the index does not have it.
    pub fn embedding(&self, id: PhotoId) -> Result<Option<Embedding>> {
        let position = self.snapshot.position(id);
        let row = position.map(|position| self.snapshot.row_of(position));
        row.map(|row| Embedding::new(self.snapshot.vectors().row(row).to_vec()))
            .transpose()
    }

    pub(in crate::index) fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    fn check_dim(&self, query: &Embedding) -> Result<()> {
        let dim = self.model().dim;
        if query.dim() == dim {
            return Ok(());
        }
        Err(Error::Input {
            reason: format!(
                "a query of {} coordinates, the index has {dim}",
                query.dim()
            ),
        })
    }

    /// Returns the course of a search with these options.
    pub(in crate::index) fn course(
        &self,
        query: &Embedding,
        k: usize,
        options: &SearchOptions,
    ) -> Result<Course> {
        if options.plan == Plan::Graph {
            return Ok(Course {
                graph_budget: usize::MAX,
                filter_first: false,
            });
        }
        let sample = match options.filter {
            Some(filter) => Sample::take(&self.snapshot, query, filter)?,
            None => None,
        };
        let work = Work {
            rows: self.snapshot.vectors().rows(),
            graph_rows: match options.plan {
                Plan::Scan => 0,
                Plan::Cheapest | Plan::Graph => self.snapshot.graph().rows(),
            },
            photos: self.len(),
            wanted: k,
            ef: ef(k, options),
            threads: rayon::current_num_threads(),
        };
        Ok(work.cheapest(sample))
    }

    /// The best photos, found as the course says.
    pub(in crate::index) fn follow(
        &self,
        course: Course,
        query: &Embedding,
        k: usize,
        options: &SearchOptions,
    ) -> Result<Vec<Hit>> {
        let by_graph = match course.graph_budget {
            0 => None,
            budget => {
                let ef = ef(k, options);
                self.graph_rows(query, Effort { ef, budget }, options.filter)?
            }
        };
        let rows = match (by_graph, options.filter) {
            (Some(rows), _) => rows,
            (None, Some(filter)) if course.filter_first => self.passing_rows(query, filter)?,
            (None, _) => self.score(query, 0..self.snapshot.vectors().rows() as u32),
        };
        self.best_photos(rows, k, options.filter)
    }

    /// The best rows by graph, along with all rows that are not in it; `None` where finding them would take
    /// more effort.
    fn graph_rows(
        &self,
        query: &Embedding,
        effort: Effort,
        filter: Option<&PhotoPredicate>,
    ) -> Result<Option<Vec<Scored>>> {
        let (graph, vectors) = (self.snapshot.graph(), self.snapshot.vectors());
        let accept = |row| self.has_photo(row, filter);
        let rows = graph.search(vectors.scorer(query.as_slice()), accept, effort)?;
        Ok(rows.map(|mut rows| {
            rows.extend(self.score(query, graph.rows() as u32..vectors.rows() as u32));
            rows
        }))
    }

    /// The rows of all photos that pass a filter, each once. Reads the records in order, which is quicker
    /// than row by row: the graph's rows are in no order that memory knows.
    fn passing_rows(&self, query: &Embedding, filter: &PhotoPredicate) -> Result<Vec<Scored>> {
        let mut rows: Vec<u32> = self
            .passing(filter)?
            .into_iter()
            .map(|position| self.snapshot.row_of(position))
            .collect();
        rows.sort_unstable();
        rows.dedup();
        Ok(self.score(query, rows))
    }

    /// Positions of the photos that pass a filter, ascending.
    fn passing(&self, filter: &PhotoPredicate) -> Result<Vec<u32>> {
        let positions = (0..self.len() as u32).into_par_iter().with_min_len(256);
        positions
            .filter_map(|position| match self.photo_at(position) {
                Ok(photo) => filter(&photo).then_some(Ok(position)),
                Err(error) => Some(Err(error)),
            })
            .collect()
    }

    fn score(
        &self,
        query: &Embedding,
        rows: impl IntoParallelIterator<Item = u32, Iter: IndexedParallelIterator>,
    ) -> Vec<Scored> {
        let (dot, vectors) = (DotProduct::best(), self.snapshot.vectors());
        let rows = rows.into_par_iter().with_min_len(1024);
        rows.map(|row| Scored {
            similarity: dot.of(query.as_slice(), vectors.row(row)),
            row,
        })
        .collect()
    }

    fn has_photo(&self, row: u32, filter: Option<&PhotoPredicate>) -> Result<bool> {
        let positions = self.snapshot.photos_of(row);
        let Some(filter) = filter else {
            return Ok(!positions.is_empty());
        };
        for &position in positions {
            if filter(&self.photo_at(position)?) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The first `k` photos of the rows, best row first, that pass the filter. Looks at no more photos
    /// than that takes.
    fn best_photos(
        &self,
        rows: Vec<Scored>,
        k: usize,
        filter: Option<&PhotoPredicate>,
    ) -> Result<Vec<Hit>> {
        let mut found = Vec::with_capacity(k.min(rows.len()));
        let mut rows = BinaryHeap::from(rows);
        while let Some(Scored { similarity, row }) = rows.pop() {
            for &position in self.snapshot.photos_of(row) {
                if found.len() == k {
                    return Ok(found);
                }
                let photo = self.photo_at(position)?;
                if filter.is_none_or(|filter| filter(&photo)) {
                    let id = self.snapshot.photo_id(position);
                    // Rounding can push a unit vector's product with itself over 1.
                    found.push(Hit {
                        id,
                        photo,
                        similarity: similarity.clamp(-1.0, 1.0),
                        match_probability: None,
                    });
                }
            }
        }
        Ok(found)
    }

    fn photo_at(&self, position: u32) -> Result<Photo> {
        self.snapshot.record(position).map(|record| record.photo)
    }
}

/// Rows to keep during a search of the graph.
fn ef(k: usize, options: &SearchOptions) -> usize {
    options.ef.unwrap_or(DEFAULT_EF).max(k)
}
