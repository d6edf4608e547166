//! Converts words to the text tower's token ids, and back.

use std::fs;
use std::path::Path;

use tokenizers::models::bpe::{BPE, Merges, Vocab};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::processors::roberta::RobertaProcessing;
use tokenizers::{AddedToken, Tokenizer, TruncationParams};

use crate::error::{Error, Result};

const TOKENIZER: &str = "tokenizer.json";
const VOCABULARY: &str = "vocab.json";
const MERGES: &str = "merges.txt";

const START: &str = "<s>";
const PADDING: &str = "<pad>";
const END: &str = "</s>";
const UNKNOWN: &str = "<unk>";
const MASK: &str = "<mask>";

/// The text tower's byte-level BPE: any text has token ids, between `<s>` and `</s>`.
#[derive(Debug, Clone)]
pub struct TextProcessor {
    tokenizer: Tokenizer,
}

/// A text as the model reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenIds {
    /// `[L]`, from `<s>` to `</s>`.
    pub ids: Vec<u32>,
    /// True if the text was longer than the model takes and lost its end.
    pub truncated: bool,
}

impl TextProcessor {
    /// Reads the tokenizer of the checkpoint in `dir`: `tokenizer.json`, or `vocab.json` and `merges.txt`.
    ///
    /// `max_tokens` is the most tokens that the model takes, `<s>` and `</s>` included: its
    /// `max_position_embeddings − pad_token_id − 1`.
    pub fn from_dir(dir: &Path, max_tokens: usize) -> Result<Self> {
        let whole = dir.join(TOKENIZER);
        let (path, mut tokenizer) = if whole.exists() {
            let tokenizer = Tokenizer::from_bytes(read(&whole)?).map_err(malformed(&whole))?;
            (whole, tokenizer)
        } else if dir.join(VOCABULARY).exists() && dir.join(MERGES).exists() {
            (dir.join(VOCABULARY), roberta(dir)?)
        } else {
            return Err(Error::NoModel {
                model: dir.display().to_string(),
                reason: format!("it has neither {TOKENIZER} nor {VOCABULARY} with {MERGES}"),
            });
        };
        let truncation = TruncationParams {
            max_length: max_tokens,
            ..Default::default()
        };
        tokenizer
            .with_truncation(Some(truncation))
            .map_err(malformed(&path))?;
        tokenizer.with_padding(None);
        Ok(Self { tokenizer })
    }

    /// Returns the token ids of `text`, at most `max_tokens` of them. Empty text is legal: `<s></s>`.
    pub fn encode(&self, text: &str) -> Result<TokenIds> {
        let encoding = self
            .tokenizer
            .encode_fast(text, true)
            .map_err(|error| Error::Input {
                reason: format!("cannot tokenize: {error}"),
            })?;
        Ok(TokenIds {
            ids: encoding.get_ids().to_vec(),
            truncated: !encoding.get_overflowing().is_empty(),
        })
    }

    /// Returns the text of `ids`, special tokens included.
    pub fn decode(&self, ids: &[u32]) -> Result<String> {
        self.tokenizer
            .decode(ids, false)
            .map_err(|error| Error::Input {
                reason: format!("cannot decode tokens: {error}"),
            })
    }

    /// Returns the vocabulary's spelling of a token; a leading `Ġ` stands for a space.
    pub fn token(&self, id: u32) -> Option<String> {
        self.tokenizer.id_to_token(id)
    }

    /// Returns the id of `<mask>`, the place of a word to be guessed.
    pub fn mask_id(&self) -> Option<u32> {
        self.tokenizer.token_to_id(MASK)
    }

    /// Returns the id of `<pad>`, which fills the shorter texts of a batch.
    pub fn pad_id(&self) -> Option<u32> {
        self.tokenizer.token_to_id(PADDING)
    }
}

/// Makes the tokenizer that `tokenizer.json` would describe, from the bare vocabulary and merges.
fn roberta(dir: &Path) -> Result<Tokenizer> {
    let path = dir.join(VOCABULARY);
    let vocabulary: Vocab = serde_json::from_slice(&read(&path)?).map_err(malformed(&path))?;
    let merges = merges(&dir.join(MERGES))?;
    assemble(vocabulary, merges).map_err(malformed(&path))
}

fn assemble(vocabulary: Vocab, merges: Merges) -> tokenizers::Result<Tokenizer> {
    let special = |text: &str| {
        let id = vocabulary.get(text).ok_or(format!("it lacks {text}"))?;
        Ok::<_, String>((text.to_owned(), *id))
    };
    let post_processor = RobertaProcessing::new(special(END)?, special(START)?);
    let model = BPE::builder()
        .vocab_and_merges(vocabulary, merges)
        .build()?;
    let mut tokenizer = Tokenizer::new(model);
    tokenizer
        .with_pre_tokenizer(Some(ByteLevel::new(false, true, true)))
        .with_post_processor(Some(post_processor.add_prefix_space(false)))
        .with_decoder(Some(ByteLevel::default()));
    tokenizer.add_special_tokens(
        [START, PADDING, END, UNKNOWN].map(|text| AddedToken::from(text, true)),
    )?;
    // It takes the space before it along, as any word's first token does.
    tokenizer.add_special_tokens([AddedToken::from(MASK, true).lstrip(true)])?;
    Ok(tokenizer)
}

/// Reads pairs of tokens, one per line, in the order in which they are merged.
fn merges(path: &Path) -> Result<Merges> {
    let text = String::from_utf8(read(path)?).map_err(malformed(path))?;
    let pairs = text.lines().filter(|line| !line.starts_with("#version"));
    pairs
        .map(|line| {
            let (left, right) = line
                .split_once(' ')
                .ok_or_else(|| malformed(path)(format!("not a pair of tokens: {line:?}")))?;
            Ok((left.to_owned(), right.to_owned()))
        })
        .collect()
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(Error::io(path))
}

fn malformed<E: Into<Box<dyn std::error::Error + Send + Sync>>>(
    path: &Path,
) -> impl FnOnce(E) -> Error {
    move |error| Error::Checkpoint {
        path: path.to_owned(),
        reason: error.into().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::processor::shared;

    /// Texts, their ids and how they read back, by `RobertaTokenizerFast` of transformers 5.23.
    const REFERENCE: [(&str, &[u32], &str); 12] = [
        (
            "An image of two cats chilling on a couch",
            &[0, 4688, 2274, 9, 80, 10017, 22577, 15, 10, 16433, 2],
            "<s>An image of two cats chilling on a couch</s>",
        ),
        ("", &[0, 2], "<s></s>"),
        (" ", &[0, 1437, 2], "<s> </s>"),
        (
            "a <mask> cat",
            &[0, 102, 50264, 4758, 2],
            "<s>a<mask> cat</s>",
        ),
        (
            "a<mask> cat",
            &[0, 102, 50264, 4758, 2],
            "<s>a<mask> cat</s>",
        ),
        ("<mask>", &[0, 50264, 2], "<s><mask></s>"),
        (
            "a photo of a <mask> on the <mask>.",
            &[0, 102, 1345, 9, 10, 50264, 15, 5, 50264, 4, 2],
            "<s>a photo of a<mask> on the<mask>.</s>",
        ),
        (
            "</s> injected <s>",
            &[0, 2, 22993, 1437, 0, 2],
            "<s></s> injected <s></s>",
        ),
        ("<pad><unk>", &[0, 1, 3, 2], "<s><pad><unk></s>"),
        (
            "日本語の写真",
            &[
                0, 47954, 8210, 44636, 11582, 48537, 17772, 49223, 27819, 27, 49122, 4333, 2,
            ],
            "<s>日本語の写真</s>",
        ),
        (
            "😀👩\u{200d}👩\u{200d}👧 family",
            &[
                0, 18636, 7471, 31193, 15375, 17, 8384, 31193, 15375, 17, 8384, 31193, 6248, 284, 2,
            ],
            "<s>😀👩\u{200d}👩\u{200d}👧 family</s>",
        ),
        (
            "naïve café",
            &[0, 2133, 48350, 26059, 2],
            "<s>naïve café</s>",
        ),
    ];

    /// A vocabulary of bytes and two merges.
    fn tiny(max_tokens: usize) -> TextProcessor {
        let dir = tempfile::tempdir().unwrap();
        let vocabulary = r#"{"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, "a": 4, "c": 5, "t": 6, "Ġ": 7,
            "at": 8, "cat": 9, "<mask>": 10}"#;
        fs::write(dir.path().join(VOCABULARY), vocabulary).unwrap();
        fs::write(dir.path().join(MERGES), "#version: 0.2\na t\nc at\n").unwrap();
        TextProcessor::from_dir(dir.path(), max_tokens).unwrap()
    }

    #[test]
    fn merges_are_applied_in_order() {
        let text = tiny(16);
        assert_eq!(text.encode("cat act").unwrap().ids, [0, 9, 7, 4, 5, 6, 2]);
        assert_eq!(text.encode("a <mask>").unwrap().ids, [0, 4, 10, 2]);
        assert_eq!(
            text.decode(&[0, 9, 7, 4, 10, 2]).unwrap(),
            "<s>cat a<mask></s>"
        );
        assert_eq!(text.token(7).as_deref(), Some("Ġ"));
        assert_eq!(text.token(11), None);
        assert_eq!((text.mask_id(), text.pad_id()), (Some(10), Some(1)));
    }

    #[test]
    fn long_texts_lose_their_end_and_say_so() {
        let text = tiny(4);
        let fits = text.encode("catcat").unwrap();
        assert_eq!(
            (fits.ids.as_slice(), fits.truncated),
            ([0, 9, 9, 2].as_slice(), false)
        );
        let long = text.encode("catcatt").unwrap();
        assert_eq!(
            (long.ids.as_slice(), long.truncated),
            ([0, 9, 9, 2].as_slice(), true)
        );
    }

    #[test]
    fn what_is_missing_or_malformed_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let error = |dir: &Path| TextProcessor::from_dir(dir, 512).unwrap_err();
        assert!(matches!(error(dir.path()), Error::NoModel { .. }));
        fs::write(dir.path().join(VOCABULARY), r#"{"a": 0}"#).unwrap();
        fs::write(dir.path().join(MERGES), "a b\n").unwrap();
        assert!(error(dir.path()).to_string().contains("</s>"));
        fs::write(dir.path().join(MERGES), "alone\n").unwrap();
        assert!(error(dir.path()).to_string().contains("alone"));
        fs::write(dir.path().join(TOKENIZER), "{").unwrap();
        assert!(error(dir.path()).to_string().contains(TOKENIZER));
    }

    #[test]
    fn ids_equal_the_references_from_either_set_of_files() {
        let Some(real) = shared("data/tokenizer") else {
            return;
        };
        let bare = tempfile::tempdir().unwrap();
        for name in [VOCABULARY, MERGES] {
            fs::copy(real.join(name), bare.path().join(name)).unwrap();
        }
        for dir in [real.as_path(), bare.path()] {
            let processor = TextProcessor::from_dir(dir, 512).unwrap();
            for (text, ids, decoded) in REFERENCE {
                let tokens = processor.encode(text).unwrap();
                assert_eq!(
                    (tokens.ids.as_slice(), tokens.truncated),
                    (ids, false),
                    "{text:?}"
                );
                assert_eq!(processor.decode(&tokens.ids).unwrap(), decoded);
            }
            let long = processor.encode(&"word ".repeat(600)).unwrap();
            assert_eq!(
                (long.ids.len(), long.truncated, long.ids[511]),
                (512, true, 2)
            );
        }
    }
}
