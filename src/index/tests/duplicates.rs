//! Duplicates, against comparing every pair.

use std::path::Path;

use super::{DIM, Rng, build, insert, open, photo, rebuild_graph};
use crate::embedding::Embedding;
use crate::index::reader::IndexReader;
use crate::index::upkeep::duplicates::{DuplicateGroup, DuplicateOptions, Duplicates};
use crate::index::{Changes, IndexWriter};
use crate::photo::{Photo, PhotoId};

fn find(dir: &Path, similarity: Option<f32>) -> Duplicates {
    let reader = IndexReader::open(dir).unwrap();
    let options = DuplicateOptions {
        similarity,
        on_disk: false,
    };
    reader.duplicates(&options, &mut |_, _| {}).unwrap()
}

/// The ids of the photos of each group, sorted.
fn groups(found: &Duplicates) -> Vec<Vec<u64>> {
    let mut groups: Vec<Vec<u64>> = Vec::new();
    for group in &found.groups {
        let photos = group.contents.iter().flat_map(|content| &content.photos);
        let mut ids: Vec<u64> = photos.map(|(id, _)| id.0).collect();
        ids.sort_unstable();
        groups.push(ids);
    }
    groups.sort();
    groups
}

/// Numbered photo `number` with the content of `content`, at so many pixels and bytes.
fn copy(number: usize, content: usize, width: u32, size: u64) -> Photo {
    let mut copy = photo(number);
    copy.content_hash = photo(content).content_hash;
    copy.metadata.width = width;
    copy.metadata.height = 10;
    copy.size = size;
    copy
}

/// The unit vector at an angle, degrees, in the first plane.
fn at(degrees: f32) -> Embedding {
    let (sin, cos) = degrees.to_radians().sin_cos();
    let mut values = vec![0.0; DIM];
    (values[0], values[1]) = (cos, sin);
    Embedding::new(values).unwrap()
}

#[test]
fn copies_and_look_alikes_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = open(dir.path());
    let photos = vec![
        (copy(0, 100, 40, 300), at(0.0)),
        (copy(1, 101, 80, 200), at(2.0)),
        (copy(2, 100, 40, 300), at(0.0)),
        // Like photo 1, and 4° from photo 0: it belongs to them through photo 1.
        (copy(3, 102, 80, 250), at(4.0)),
        (copy(4, 103, 10, 900), at(50.0)),
        (copy(5, 103, 10, 900), at(50.0)),
        (copy(6, 104, 10, 1), at(90.0)),
        // The same picture in another file, and so the same vector.
        (copy(7, 105, 10, 20), at(130.0)),
        (copy(8, 106, 10, 30), at(130.0)),
    ];
    insert(&mut writer, photos);
    writer.publish().unwrap();

    let three_degrees = 3_f32.to_radians().cos();
    let found = find(dir.path(), Some(three_degrees));
    assert_eq!(groups(&found), [vec![0, 1, 2, 3], vec![4, 5], vec![7, 8]]);
    let waste: Vec<u64> = found.groups.iter().map(DuplicateGroup::waste).collect();
    assert_eq!(waste, [900, 800, 20], "the largest first");
    let [copies, alike, same] = &found.groups[..] else {
        panic!("{found:?}")
    };
    assert!(copies.is_exact() && !alike.is_exact() && !same.is_exact());
    let ids: Vec<Vec<PhotoId>> = alike
        .contents
        .iter()
        .map(|content| content.photos.iter().map(|(id, _)| *id).collect())
        .collect();
    let expected = [vec![3], vec![1], vec![0, 2]];
    assert_eq!(
        ids,
        expected.map(|ids| ids.into_iter().map(PhotoId).collect::<Vec<_>>()),
        "most pixels, then largest file"
    );
    let four_degrees = 4_f32.to_radians().cos();
    assert!((alike.contents[2].similarity - four_degrees).abs() < 1e-6);
    assert_eq!(
        (
            same.contents[0].photo().size,
            same.contents[1].similarity.to_bits()
        ),
        (30, 1_f32.to_bits())
    );

    assert_eq!(groups(&find(dir.path(), None)), [[0, 2], [4, 5]]);
    assert_eq!(
        groups(&find(dir.path(), Some(1.1))),
        [[0, 2], [4, 5], [7, 8]]
    );
}

#[test]
fn an_index_without_duplicates_has_no_groups() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = build(dir.path(), &[]);
    assert_eq!(find(dir.path(), Some(0.9)), Duplicates::default());
    insert(&mut writer, vec![(photo(0), at(0.0)), (photo(1), at(90.0))]);
    writer.publish().unwrap();
    assert_eq!(find(dir.path(), Some(0.9)), Duplicates::default());
    assert_eq!(find(dir.path(), None), Duplicates::default());
}

/// 5,000 pictures in a graph and 500 that came later; bursts within each and across both.
#[test]
fn duplicates_by_graph_are_those_of_all_pairs() {
    let dir = tempfile::tempdir().unwrap();
    let mut rng = Rng(11);
    let mut embeddings: Vec<Embedding> = (0..4000).map(|_| rng.embedding()).collect();
    let centres: Vec<Embedding> = embeddings[..60].to_vec();
    embeddings.extend((0..1000).map(|_| rng.near(&centres, 0.02)));
    let mut writer = build(dir.path(), &embeddings);
    assert!(rebuild_graph(&mut writer));
    let later: Vec<Embedding> = (0..500).map(|_| rng.near(&centres, 0.02)).collect();
    let tail = later.iter().cloned().enumerate();
    let changes = Changes {
        insert: tail.map(|(number, e)| (photo(6000 + number), e)).collect(),
        remove: (0..5000).step_by(9).map(PhotoId).collect(),
        ..Changes::default()
    };
    commit_and_publish(&mut writer, changes);
    embeddings.extend(later);

    let least = 0.995;
    let found = find(dir.path(), Some(least));
    assert_eq!(groups(&found), by_all_pairs(&embeddings, least));
    assert!(found.groups.len() > 50, "{}", found.groups.len());
    assert_eq!(find(dir.path(), Some(least)), found, "every time the same");
}

/// A burst of more photos than a first look at the graph returns stays in one piece.
#[test]
fn a_long_burst_is_one_group() {
    let dir = tempfile::tempdir().unwrap();
    let mut rng = Rng(12);
    let centre = [rng.embedding()];
    let mut embeddings: Vec<Embedding> = (0..4000).map(|_| rng.embedding()).collect();
    embeddings.extend((0..700).map(|_| rng.near(&centre, 0.01)));
    let mut writer = build(dir.path(), &embeddings);
    assert!(rebuild_graph(&mut writer));
    writer.publish().unwrap();
    let found = find(dir.path(), Some(0.999));
    assert_eq!(groups(&found), [(4000..4700).collect::<Vec<u64>>()]);
}

fn commit_and_publish(writer: &mut IndexWriter, changes: Changes) {
    writer.commit(changes).unwrap();
    writer.publish().unwrap();
}

/// Groups of the photos that are left, by comparing each with each.
fn by_all_pairs(embeddings: &[Embedding], least: f32) -> Vec<Vec<u64>> {
    let left: Vec<usize> = (0..embeddings.len())
        .filter(|number| *number >= 5000 || number % 9 != 0)
        .collect();
    let mut group: Vec<usize> = (0..embeddings.len()).collect();
    for (i, &a) in left.iter().enumerate() {
        for &b in &left[i + 1..] {
            if embeddings[a].cosine(&embeddings[b]) >= least && group[a] != group[b] {
                let (old, new) = (group[b], group[a]);
                for number in &mut group {
                    if *number == old {
                        *number = new;
                    }
                }
            }
        }
    }
    let mut groups = std::collections::BTreeMap::<usize, Vec<u64>>::new();
    for &number in &left {
        groups.entry(group[number]).or_default().push(number as u64);
    }
    let mut groups: Vec<Vec<u64>> = groups.into_values().filter(|g| g.len() > 1).collect();
    groups.sort();
    groups
}

/// A link is no copy: deleting what it leads to would lose the picture.
#[cfg(unix)]
#[test]
fn links_and_missing_files_are_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let index = dir.path().join("index");
    let names = [
        "a.jpg", "soft.jpg", "hard.jpg", "b.jpg", "gone.jpg", "only.jpg", "link.jpg",
    ];
    let path = |name: &str| dir.path().join(name);
    for name in ["a.jpg", "b.jpg", "only.jpg"] {
        std::fs::write(path(name), "x").unwrap();
    }
    std::os::unix::fs::symlink("a.jpg", path("soft.jpg")).unwrap();
    std::os::unix::fs::symlink("only.jpg", path("link.jpg")).unwrap();
    std::fs::hard_link(path("a.jpg"), path("hard.jpg")).unwrap();
    let photos = names.iter().enumerate().map(|(number, name)| {
        let is_lonely = number >= 5;
        let mut photo = copy(number, 100 + usize::from(is_lonely), 10, 1);
        photo.path = path(name);
        (photo, at(if is_lonely { 90.0 } else { 0.0 }))
    });
    let mut writer = open(&index);
    insert(&mut writer, photos.collect());
    writer.publish().unwrap();
    let reader = IndexReader::open(&index).unwrap();
    let found = reader
        .duplicates(&DuplicateOptions::default(), &mut |_, _| {})
        .unwrap();
    assert_eq!((found.groups.len(), found.left_out), (1, 4));
    let [content] = &found.groups[0].contents[..] else {
        panic!("{found:?}")
    };
    assert_eq!(content.content_hash, photo(100).content_hash);
    let left: Vec<_> = content.photos.iter().map(|(_, p)| p.path.clone()).collect();
    assert_eq!(left, [path("a.jpg"), path("b.jpg")]);
}
