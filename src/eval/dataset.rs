//! Reads pictures with their captions from a file.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer};

use crate::error::{Error, Result};

/// Captions of a picture that count in Karpathy's split files. Every picture of Flickr30k has five; some of COCO have
/// more, and the published numbers use the first five.
pub const CAPTIONS_PER_PHOTO: usize = 5;

const MASK: &str = "<mask>";

/// Pictures with true and false captions.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Dataset {
    /// The collection: every picture once.
    pub photos: Vec<PathBuf>,
    /// Texts that describe one of the pictures, in the order of the file.
    pub captions: Vec<Caption>,
    /// Queries that nothing in the collection shows.
    pub absent: Vec<String>,
    /// True captions, each with a false one.
    pub foils: Vec<Foil>,
    /// Captions with a gap.
    pub cloze: Vec<Cloze>,
}

/// A text that describes a picture.
#[derive(Debug, Clone, PartialEq)]
pub struct Caption {
    /// The index in [`Dataset::photos`].
    pub photo: usize,
    /// The description.
    pub text: String,
}

/// A true caption of a picture, and a false one.
#[derive(Debug, Clone, PartialEq)]
pub struct Foil {
    /// The index in [`Dataset::photos`].
    pub photo: usize,
    /// The true caption.
    pub caption: String,
    /// The false caption.
    pub foil: String,
}

/// A caption with a masked word.
#[derive(Debug, Clone, PartialEq)]
pub struct Cloze {
    /// The index in [`Dataset::photos`].
    pub photo: usize,
    /// The caption; its first `<mask>` is the gap.
    pub text: String,
    /// The masked word.
    pub answer: String,
}

impl Dataset {
    /// Reads `file`: JSON Lines, or Karpathy's split file for Flickr30k or COCO, of which the pictures of `split` are
    /// used. Pictures are looked for beside the file, or in `images`.
    ///
    /// A record of JSON Lines has `image` (a path, or null for a query that nothing in the collection shows), `caption`
    /// or `captions`, and optionally `foils` (false captions of the picture, to be compared with its first caption) and
    /// `cloze` (objects of `text`, with a `<mask>`, and `answer`). Other fields are ignored. Records of the same
    /// picture are joined.
    pub fn read(file: &Path, images: Option<&Path>, split: &str) -> Result<Self> {
        let content = std::fs::read_to_string(file).map_err(Error::io(file))?;
        let beside = file.parent().unwrap_or(Path::new(""));
        let source = Source {
            file,
            images: images.unwrap_or(beside),
        };
        let dataset = if is_split_file(file, &content) {
            source.split_file(&content, split)?
        } else {
            source.json_lines(&content)?
        };
        if dataset.photos.is_empty() {
            return Err(source.wrong(None, "it lists no pictures"));
        }
        Ok(dataset)
    }

    /// Keeps the first `count` pictures with all their texts, and as many absent queries.
    pub fn truncate(&mut self, count: usize) {
        self.photos.truncate(count);
        self.absent.truncate(count);
        let kept = self.photos.len();
        self.captions.retain(|caption| caption.photo < kept);
        self.foils.retain(|foil| foil.photo < kept);
        self.cloze.retain(|cloze| cloze.photo < kept);
    }

    /// Removes the pictures for which `keep` is false, with all their texts.
    pub(super) fn retain_photos(&mut self, keep: &[bool]) {
        let mut kept = 0;
        let places: Vec<Option<usize>> = keep
            .iter()
            .map(|keep| {
                kept += usize::from(*keep);
                keep.then(|| kept - 1)
            })
            .collect();
        let moved = |photo: &mut usize| match places[*photo] {
            Some(place) => {
                *photo = place;
                true
            }
            None => false,
        };
        self.captions.retain_mut(|c| moved(&mut c.photo));
        self.foils.retain_mut(|f| moved(&mut f.photo));
        self.cloze.retain_mut(|c| moved(&mut c.photo));
        let mut keep = keep.iter();
        self.photos.retain(|_| keep.next().copied().unwrap_or(true));
    }
}

/// Returns whether a file is a split file. JSON Lines have their own extension, or a whole record as first line.
fn is_split_file(file: &Path, content: &str) -> bool {
    let is_lines = file
        .extension()
        .is_some_and(|e| e.eq_ignore_ascii_case("jsonl") || e.eq_ignore_ascii_case("ndjson"));
    let first = content.lines().find(|line| !line.trim().is_empty());
    let Some(first) = first.filter(|_| !is_lines) else {
        return false;
    };
    match serde_json::from_str::<SplitOrRecord>(first) {
        Ok(whole) => whole.images.is_some(),
        Err(_) => true,
    }
}

/// A file that is being read.
struct Source<'a> {
    file: &'a Path,
    images: &'a Path,
}

impl Source<'_> {
    fn json_lines(&self, content: &str) -> Result<Dataset> {
        let mut dataset = Dataset::default();
        let mut places = HashMap::new();
        for (i, line) in content.lines().enumerate() {
            if !line.trim().is_empty() {
                self.record(line, &mut dataset, &mut places)
                    .map_err(|reason| self.wrong(Some(i + 1), &reason))?;
            }
        }
        Ok(dataset)
    }

    fn record(
        &self,
        line: &str,
        dataset: &mut Dataset,
        places: &mut HashMap<PathBuf, usize>,
    ) -> Result<(), String> {
        let record: Record = serde_json::from_str(line).map_err(|e| e.to_string())?;
        let captions: Vec<String> = record.caption.into_iter().chain(record.captions).collect();
        if captions.iter().any(|caption| caption.trim().is_empty()) {
            return Err("an empty caption".into());
        }
        let image = match record.image {
            Image::At(path) => Some(path),
            Image::Null => None,
            Image::Missing => {
                return Err("\"image\" is missing (null for a query that no picture shows)".into());
            }
        };
        let Some(image) = image else {
            if captions.is_empty() || !record.foils.is_empty() || !record.cloze.is_empty() {
                return Err("a record without an image may only have a caption".into());
            }
            dataset.absent.extend(captions);
            return Ok(());
        };
        let photo = if let Some(photo) = places.get(&image) {
            *photo
        } else {
            dataset.photos.push(self.existing(&image)?);
            places.insert(image, dataset.photos.len() - 1);
            dataset.photos.len() - 1
        };
        for foil in record.foils {
            let caption = captions.first().ok_or("foils need a caption")?;
            dataset.foils.push(Foil {
                photo,
                caption: caption.clone(),
                foil,
            });
        }
        for ClozeRecord { text, answer } in record.cloze {
            if !text.contains(MASK) {
                return Err(format!("the cloze {text:?} has no {MASK}"));
            }
            dataset.cloze.push(Cloze {
                photo,
                text,
                answer,
            });
        }
        let captions = captions.into_iter();
        dataset
            .captions
            .extend(captions.map(|text| Caption { photo, text }));
        Ok(())
    }

    fn split_file(&self, content: &str, split: &str) -> Result<Dataset> {
        let file: SplitFile = serde_json::from_str(content).map_err(|e| {
            self.wrong(
                None,
                &format!("neither JSON Lines nor Karpathy's split file ({e})"),
            )
        })?;
        let mut splits: BTreeMap<&str, usize> = BTreeMap::new();
        let mut dataset = Dataset::default();
        for image in &file.images {
            *splits.entry(&image.split).or_default() += 1;
            if image.split != split {
                continue;
            }
            let path = image.filepath.join(&image.filename);
            let path = self
                .existing(&path)
                .map_err(|reason| self.wrong(None, &reason))?;
            let photo = dataset.photos.len();
            dataset.photos.push(path);
            let sentences = image.sentences.iter().take(CAPTIONS_PER_PHOTO);
            dataset.captions.extend(sentences.map(|sentence| Caption {
                photo,
                text: sentence.raw.trim().to_owned(),
            }));
        }
        if dataset.photos.is_empty() && !splits.is_empty() {
            let known: Vec<&str> = splits.into_keys().collect();
            return Err(self.wrong(
                None,
                &format!("no picture of split {split:?}; it has {}", known.join(", ")),
            ));
        }
        Ok(dataset)
    }

    /// Returns the picture's path, if the file exists.
    fn existing(&self, image: &Path) -> Result<PathBuf, String> {
        let path = self.images.join(image);
        if path.is_file() {
            return Ok(path);
        }
        Err(format!(
            "no picture {} (--images gives the folder)",
            path.display()
        ))
    }

    fn wrong(&self, line: Option<usize>, reason: &str) -> Error {
        Error::Dataset {
            path: self.file.into(),
            line,
            reason: reason.into(),
        }
    }
}

/// Distinguishes a whole split file from a record.
#[derive(Deserialize)]
struct SplitOrRecord {
    images: Option<serde::de::IgnoredAny>,
}

/// A record's picture; null means that it deliberately has none.
#[derive(Default)]
enum Image {
    #[default]
    Missing,
    Null,
    At(PathBuf),
}

#[derive(Deserialize)]
struct Record {
    #[serde(default, deserialize_with = "path_or_null")]
    image: Image,
    caption: Option<String>,
    #[serde(default)]
    captions: Vec<String>,
    #[serde(default)]
    foils: Vec<String>,
    #[serde(default)]
    cloze: Vec<ClozeRecord>,
}

#[derive(Deserialize)]
struct ClozeRecord {
    text: String,
    answer: String,
}

#[derive(Deserialize)]
struct SplitFile {
    images: Vec<SplitImage>,
}

#[derive(Deserialize)]
struct SplitImage {
    filename: PathBuf,
    /// A folder; only COCO's file has it.
    #[serde(default)]
    filepath: PathBuf,
    split: String,
    sentences: Vec<Sentence>,
}

#[derive(Deserialize)]
struct Sentence {
    raw: String,
}

fn path_or_null<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Image, D::Error> {
    Ok(Option::deserialize(deserializer)?.map_or(Image::Null, Image::At))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder with empty files of these names, and `content` in `file`.
    fn folder(file: &str, content: &str, pictures: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("tempdir");
        for picture in pictures {
            let path = dir.path().join(picture);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("creates");
            std::fs::write(path, "").expect("writes");
        }
        std::fs::write(dir.path().join(file), content).expect("writes");
        dir
    }

    fn refusal(content: &str) -> String {
        let dir = folder("set.jsonl", content, &["a.jpg"]);
        let refused = Dataset::read(&dir.path().join("set.jsonl"), None, "test");
        refused.expect_err("refused").to_string()
    }

    #[test]
    fn records_with_every_field_are_read() {
        let lines = concat!(
            r#"{"image": "a.jpg", "caption": "a cat", "foils": ["a dog", "a cow"], "id": 7}"#,
            "\n\n",
            r#"{"image": "in/b.jpg", "captions": ["two dogs", "dogs"], "cloze": [{"text": "two <mask>", "answer": "dogs"}]}"#,
            "\n",
            r#"{"image": null, "caption": "a submarine"}"#,
            "\n",
            r#"{"image": "a.jpg", "caption": "a cat again"}"#,
            "\n",
        );
        let dir = folder("set.jsonl", lines, &["a.jpg", "in/b.jpg"]);
        let read = Dataset::read(&dir.path().join("set.jsonl"), None, "test").expect("reads");
        assert_eq!(
            read.photos,
            [dir.path().join("a.jpg"), dir.path().join("in/b.jpg")]
        );
        let captions: Vec<_> = read.captions.iter().map(|c| (c.photo, &*c.text)).collect();
        assert_eq!(
            captions,
            [
                (0, "a cat"),
                (1, "two dogs"),
                (1, "dogs"),
                (0, "a cat again")
            ]
        );
        assert_eq!(read.absent, ["a submarine"]);
        let foils: Vec<_> = read.foils.iter().map(|f| (f.photo, &*f.foil)).collect();
        assert_eq!(foils, [(0, "a dog"), (0, "a cow")]);
        assert!(read.foils.iter().all(|foil| foil.caption == "a cat"));
        assert_eq!(read.cloze[0].answer, "dogs");
        assert_eq!(read.cloze[0].photo, 1);
    }

    #[test]
    fn a_single_record_is_not_taken_for_a_split_file() {
        let dir = folder(
            "set.json",
            r#"{"image": "a.jpg", "caption": "a cat"}"#,
            &["a.jpg"],
        );
        let read = Dataset::read(&dir.path().join("set.json"), None, "test").expect("reads");
        assert_eq!(read.captions.len(), 1);
    }

    #[test]
    fn karpathys_file_is_read_by_split_and_five_captions() {
        let sentences = (0..7)
            .map(|i| format!(r#"{{"raw": " caption {i} ", "tokens": []}}"#))
            .collect::<Vec<_>>()
            .join(",");
        let json = format!(
            r#"{{"dataset": "coco", "images": [
                {{"filename": "1.jpg", "filepath": "val2014", "split": "test", "sentences": [{sentences}]}},
                {{"filename": "2.jpg", "split": "val", "sentences": [{{"raw": "other"}}]}},
                {{"filename": "3.jpg", "split": "test", "sentences": [{{"raw": "third"}}]}}]}}"#
        );
        let dir = folder("dataset_coco.json", &json, &[]);
        let images = folder("unused", "", &["val2014/1.jpg", "3.jpg", "2.jpg"]);
        let file = dir.path().join("dataset_coco.json");
        let read = Dataset::read(&file, Some(images.path()), "test").expect("reads");
        assert_eq!(
            read.photos,
            [
                images.path().join("val2014/1.jpg"),
                images.path().join("3.jpg")
            ]
        );
        assert_eq!(read.captions.len(), CAPTIONS_PER_PHOTO + 1);
        assert_eq!(read.captions[4].text, "caption 4");
        assert_eq!(read.captions[5].photo, 1);
        let val = Dataset::read(&file, Some(images.path()), "val").expect("reads");
        assert_eq!(val.photos.len(), 1);
        let none = Dataset::read(&file, Some(images.path()), "train").expect_err("no such split");
        assert!(none.to_string().contains("it has test, val"), "{none}");
    }

    #[test]
    fn faults_are_named_with_their_line() {
        let good = r#"{"image": "a.jpg", "caption": "a cat"}"#;
        for (bad, what) in [
            (
                r#"{"image": "a.jpg", "caption": 3}"#,
                "line 2: invalid type",
            ),
            (
                r#"{"image": "b.jpg", "caption": "x"}"#,
                "b.jpg (--images gives",
            ),
            (r#"{"caption": "x"}"#, "line 2: \"image\" is missing"),
            (
                r#"{"image": "a.jpg", "caption": " "}"#,
                "line 2: an empty caption",
            ),
            (r#"{"image": null}"#, "line 2: a record without an image"),
            (r#"{"image": "a.jpg", "foils": ["x"]}"#, "foils need"),
            (
                r#"{"image": "a.jpg", "cloze": [{"text": "x", "answer": "y"}]}"#,
                "has no <mask>",
            ),
        ] {
            let refusal = refusal(&format!("{good}\n{bad}\n"));
            assert!(refusal.contains(what), "{refusal}");
        }
        assert!(refusal("").contains("lists no pictures"));
    }

    #[test]
    fn what_is_said_of_pictures_goes_with_them() {
        let caption = |photo, text: &str| Caption {
            photo,
            text: text.into(),
        };
        let whole = Dataset {
            photos: ["a", "b", "c"].map(PathBuf::from).into(),
            captions: vec![caption(2, "c"), caption(0, "a"), caption(1, "b")],
            absent: vec!["x".into(), "y".into()],
            ..Dataset::default()
        };
        let mut without_b = whole.clone();
        without_b.retain_photos(&[true, false, true]);
        assert_eq!(without_b.photos, ["a", "c"].map(PathBuf::from));
        assert_eq!(without_b.captions, [caption(1, "c"), caption(0, "a")]);
        let mut first = whole;
        first.truncate(1);
        assert_eq!(first.captions, [caption(0, "a")]);
        assert_eq!(first.absent.len(), 1);
    }
}
