//! Which vectors the store holds, and who needs them: photos, and the graph.

use std::collections::{BTreeMap, HashMap};

use xxhash_rust::xxh3::xxh3_128;

use crate::index::codec::{VectorId, vector_digest};

/// Photos with the same embedding share one vector: copies, and files that differ in their metadata only.
/// See [`crate::index::graph::build::build`] for why the graph needs that.
#[derive(Debug, Default)]
pub(crate) struct VectorTable {
    vectors: BTreeMap<VectorId, Users>,
    by_hash: HashMap<VectorHash, VectorId>,
    sum: u64,
}

/// Xxh3-128 of a vector's bytes: two vectors with the same hash are taken for the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct VectorHash(u128);

impl VectorHash {
    pub fn of(vector: &[u8]) -> Self {
        Self(xxh3_128(vector))
    }
}

#[derive(Debug)]
struct Users {
    hash: VectorHash,
    photos: usize,
    in_graph: bool,
}

impl VectorTable {
    pub fn len(&self) -> usize {
        self.vectors.len()
    }

    /// The sum of the digests of all vectors.
    pub fn sum(&self) -> u64 {
        self.sum
    }

    pub fn contains(&self, id: VectorId) -> bool {
        self.vectors.contains_key(&id)
    }

    pub fn find(&self, hash: VectorHash) -> Option<VectorId> {
        self.by_hash.get(&hash).copied()
    }

    /// Vectors that photos use, ascending.
    pub fn live(&self) -> Vec<VectorId> {
        self.select(|users| users.photos > 0)
    }

    /// Vectors newer than the graph, ascending.
    pub fn tail(&self) -> Vec<VectorId> {
        self.select(|users| !users.in_graph)
    }

    /// Vectors that only the graph keeps.
    pub fn dead(&self) -> Vec<VectorId> {
        self.select(|users| users.photos == 0)
    }

    /// Adds a vector without users.
    pub fn add(&mut self, id: VectorId, hash: VectorHash) {
        self.sum = self.sum.wrapping_add(vector_digest(id, hash.0));
        self.vectors.insert(
            id,
            Users {
                hash,
                photos: 0,
                in_graph: false,
            },
        );
        self.by_hash.insert(hash, id);
    }

    /// Counts one more photo; false if there is no such vector.
    pub fn acquire(&mut self, id: VectorId) -> bool {
        let users = self.vectors.get_mut(&id);
        users.map(|users| users.photos += 1).is_some()
    }

    /// Counts one photo less. True if nobody needs the vector any more; it is forgotten then.
    pub fn release(&mut self, id: VectorId) -> bool {
        let Some(users) = self.vectors.get_mut(&id) else {
            return false;
        };
        users.photos -= 1;
        let is_unused = users.photos == 0 && !users.in_graph;
        if is_unused {
            self.forget(id);
        }
        is_unused
    }

    /// Takes note of the vectors that make up the graph, and of no others; forgets and returns those that
    /// nobody needs any more.
    pub fn set_graph(&mut self, graph: &[VectorId]) -> Vec<VectorId> {
        for users in self.vectors.values_mut() {
            users.in_graph = false;
        }
        for id in graph {
            if let Some(users) = self.vectors.get_mut(id) {
                users.in_graph = true;
            }
        }
        let unused = self.select(|users| users.photos == 0 && !users.in_graph);
        for &id in &unused {
            self.forget(id);
        }
        unused
    }

    fn forget(&mut self, id: VectorId) {
        if let Some(users) = self.vectors.remove(&id) {
            self.sum = self.sum.wrapping_sub(vector_digest(id, users.hash.0));
            self.by_hash.remove(&users.hash);
        }
    }

    fn select(&self, keep: impl Fn(&Users) -> bool) -> Vec<VectorId> {
        self.vectors
            .iter()
            .filter(|(_, users)| keep(users))
            .map(|(&id, _)| id)
            .collect()
    }
}
