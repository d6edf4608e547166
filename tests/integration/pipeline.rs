//! From a picture's file and words to scores, against `transformers` from the same file and words.

use bridgetower::Embedding;
use serde::Deserialize;

use crate::fixtures::{engine, fixture, read_json};

#[derive(Deserialize)]
struct Pipeline {
    picture: String,
    captions: Vec<Caption>,
    fill: Fill,
    jpeg: Jpeg,
}

#[derive(Deserialize)]
struct Jpeg {
    picture: String,
    image_embedding: Vec<f32>,
}

#[derive(Deserialize)]
struct Caption {
    text: String,
    input_ids: Vec<u32>,
    similarity: f32,
    match_logits: [f32; 2],
    match_probability: f32,
}

#[derive(Deserialize)]
struct Fill {
    text: String,
    argmax_ids: Vec<u32>,
    mask_position: usize,
    mask_best_words: Vec<String>,
    mask_best_probabilities: Vec<f32>,
}

#[test]
fn scores_are_those_of_the_reference() {
    let folder = fixture("checkpoints/tiny-random");
    let expected: Pipeline = read_json(&folder.join("pipeline.json"));
    let engine = engine("tiny-random");
    let (photo, _) = engine
        .processor()
        .read_photo(&folder.join(&expected.picture))
        .expect("decodes");
    let photo = [photo];
    let photo_embedding = engine.embed_photos(&photo).expect("embeds").remove(0);

    for caption in &expected.captions {
        let tokens = engine
            .processor()
            .text()
            .encode(&caption.text)
            .expect("encodes");
        assert_eq!(tokens.ids, caption.input_ids, "{}", caption.text);
        let text = [tokens];
        let similarity = engine.embed_texts(&text).expect("embeds")[0].cosine(&photo_embedding);
        assert!(
            (similarity - caption.similarity).abs() < 1e-4,
            "{}",
            caption.text
        );
        let logits = engine.match_photos(&text[0], &photo).expect("matches")[0];
        for (found, expected) in [logits.no, logits.yes]
            .into_iter()
            .zip(caption.match_logits)
        {
            assert!((found - expected).abs() < 2e-4, "{}", caption.text);
        }
        assert!((logits.match_probability() - caption.match_probability).abs() < 1e-4);
    }

    let tokens = engine
        .processor()
        .text()
        .encode(&expected.fill.text)
        .expect("encodes");
    let words = &expected.fill.mask_best_words;
    let filled = engine.fill(&tokens, &photo[0], words.len()).expect("fills");
    assert_eq!(filled.token_ids, expected.fill.argmax_ids);
    let [mask] = filled.masks.as_slice() else {
        panic!("the text has one mask")
    };
    assert_eq!(mask.position, expected.fill.mask_position);
    let probabilities = &expected.fill.mask_best_probabilities;
    for ((found, word), p) in mask.candidates.iter().zip(words).zip(probabilities) {
        assert_eq!(&found.0, word);
        assert!((found.1 - p).abs() < 1e-5, "{word}");
    }
}

/// Decoders of JPEG differ by a few levels; embeddings may not differ by more than that is worth.
#[test]
fn a_jpeg_embeds_to_nearly_what_the_reference_gives() {
    let folder = fixture("checkpoints/tiny-random");
    let expected: Pipeline = read_json(&folder.join("pipeline.json"));
    let engine = engine("tiny-random");
    let (photo, _) = engine
        .processor()
        .read_photo(&folder.join(expected.jpeg.picture))
        .expect("decodes");
    let found = engine.embed_photos(&[photo]).expect("embeds").remove(0);
    let reference = Embedding::new(expected.jpeg.image_embedding).expect("a direction");
    assert!(
        found.cosine(&reference) > 0.995,
        "cosine {}",
        found.cosine(&reference)
    );
}

/// A batch gives what its members give alone: padding and neighbours leave no trace.
#[test]
fn batches_equal_singles() {
    let engine = engine("tiny-random");
    let encode = |text: &str| engine.processor().text().encode(text).expect("encodes");
    let texts = [
        encode("a cat"),
        encode("two dogs running past the beach"),
        encode("birds"),
    ];
    let photos: Vec<_> = ["landscape.png", "portrait.png", "square.png"]
        .map(|name| {
            engine
                .processor()
                .read_photo(&fixture("pixels").join(name))
                .expect("reads")
                .0
        })
        .into();

    let together = engine.embed_texts(&texts).expect("embeds");
    for (text, batched) in texts.iter().zip(&together) {
        let alone = &engine
            .embed_texts(std::slice::from_ref(text))
            .expect("embeds")[0];
        assert!(alone.cosine(batched) > 1.0 - 1e-6);
    }
    let together = engine.embed_photos(&photos).expect("embeds");
    let scores = engine.match_photos(&texts[0], &photos).expect("matches");
    for ((photo, embedding), score) in photos.iter().zip(&together).zip(scores) {
        let photo = std::slice::from_ref(photo);
        assert!(engine.embed_photos(photo).expect("embeds")[0].cosine(embedding) > 1.0 - 1e-6);
        let alone = engine.match_photos(&texts[0], photo).expect("matches")[0];
        assert!((alone.yes - score.yes).abs() < 1e-4 && (alone.no - score.no).abs() < 1e-4);
    }
    let scores = engine.match_texts(&texts, &photos[1]).expect("matches");
    for (text, score) in texts.iter().zip(scores) {
        let alone = engine.score_pair(text, &photos[1]).expect("matches").logits;
        assert!((alone.yes - score.yes).abs() < 1e-4 && (alone.no - score.no).abs() < 1e-4);
    }
}
