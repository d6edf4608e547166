//! An evaluation against the same figures computed the slow way, one pair at a time.

use std::path::PathBuf;

use bridgetower::Engine;
use bridgetower::engine::PairScore;
use bridgetower::eval::{Caption, Cloze, Dataset, Evaluation, Foil, Retrieval, evaluate};

use crate::fixtures::{engine, fixture};

const PHOTOS: [&str; 7] = [
    "landscape.png",
    "portrait.png",
    "square.png",
    "palette.png",
    "gray.png",
    "wide.png",
    "upscaled.png",
];

/// Two captions of each photo, of different lengths.
fn dataset() -> Dataset {
    let words = [
        "a cat",
        "two dogs running past the beach",
        "birds",
        "a red house by a lake in the evening",
        "nothing",
        "a man with a hat",
        "snow on a mountain",
    ];
    let caption = |i: usize, end: &str| Caption {
        photo: i % PHOTOS.len(),
        text: format!("{}{end}", words[i % words.len()]),
    };
    Dataset {
        photos: PHOTOS.map(|name| fixture("pixels").join(name)).into(),
        captions: (0..PHOTOS.len())
            .map(|i| caption(i, ""))
            .chain((0..PHOTOS.len()).map(|i| caption(i, ", seen from far away")))
            .collect(),
        absent: vec!["a submarine".into(), "an old map of the moon".into()],
        foils: (0..PHOTOS.len())
            .map(|photo| Foil {
                photo,
                caption: words[photo].into(),
                foil: format!("not {}", words[(photo + 1) % words.len()]),
            })
            .collect(),
        cloze: vec![Cloze {
            photo: 1,
            text: "two <mask> running".into(),
            answer: "dogs".into(),
        }],
    }
}

/// Every text with every photo, one pair at a time.
fn pairs(engine: &Engine, texts: &[&str], photos: &[PathBuf]) -> Vec<Vec<PairScore>> {
    let (processor, score) = (engine.processor(), |text: &str, photo| {
        let text = engine.processor().text().encode(text).expect("encodes");
        engine.score_pair(&text, photo).expect("scores")
    });
    let photos: Vec<_> = photos
        .iter()
        .map(|path| processor.read_photo(path).expect("reads").0)
        .collect();
    let row = |text: &&str| photos.iter().map(|photo| score(text, photo)).collect();
    texts.iter().map(row).collect()
}

/// Places of `scores` from the highest down.
fn order(scores: &[f32]) -> Vec<usize> {
    let mut places: Vec<usize> = (0..scores.len()).collect();
    places.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
    places
}

fn rank(order: &[usize], is_right: impl Fn(usize) -> bool) -> usize {
    1 + order
        .iter()
        .position(|i| is_right(*i))
        .expect("one is right")
}

fn recall(ranks: &[usize], k: usize) -> f64 {
    ranks.iter().filter(|rank| **rank <= k).count() as f64 / ranks.len() as f64
}

fn median(ranks: &[usize]) -> f64 {
    let mut sorted = ranks.to_vec();
    sorted.sort_unstable();
    let (low, high) = (sorted[(sorted.len() - 1) / 2], sorted[sorted.len() / 2]);
    (low + high) as f64 / 2.0
}

/// Fails unless the figures are those of `ranks`.
fn agree(found: Retrieval, ranks: &[usize], what: &str) {
    assert_eq!(found.queries, ranks.len(), "{what}");
    close(found.recall_at_1, recall(ranks, 1), what);
    close(found.recall_at_5, recall(ranks, 5), what);
    close(found.recall_at_10, recall(ranks, 10), what);
    close(found.median_rank, median(ranks), what);
}

fn close(found: f64, expected: f64, what: &str) {
    assert!(
        (found - expected).abs() < 1e-5,
        "{what}: {found}, not {expected}"
    );
}

fn run(engine: &Engine, dataset: Dataset, k: &[usize]) -> Evaluation {
    evaluate(engine, Some(engine), dataset, k, &mut |_, _, _| {}).expect("evaluates")
}

#[test]
fn figures_are_those_of_single_pairs() {
    let engine = engine("tiny-random");
    let data = dataset();
    let captions: Vec<&str> = data.captions.iter().map(|c| c.text.as_str()).collect();
    let right: Vec<usize> = data.captions.iter().map(|c| c.photo).collect();
    let scores = pairs(&engine, &captions, &data.photos);
    let cosine = |t: usize, p: usize| scores[t][p].similarity.expect("ITC");
    let logits = |t: usize, p: usize| scores[t][p].logits;
    let (texts, photos) = (captions.len(), data.photos.len());
    let by_text: Vec<Vec<usize>> = (0..texts)
        .map(|t| order(&(0..photos).map(|p| cosine(t, p)).collect::<Vec<_>>()))
        .collect();
    let by_photo: Vec<Vec<usize>> = (0..photos)
        .map(|p| order(&(0..texts).map(|t| cosine(t, p)).collect::<Vec<_>>()))
        .collect();

    let depths = [2, 4, 50];
    let found = run(&engine, data.clone(), &[50, 4, 2, 4]);
    assert_eq!(found.k, depths);
    assert_eq!(found.counts.captions, 14);
    assert!(found.skipped.is_empty(), "{:?}", found.skipped);
    let itc = found.itc.expect("ITC");
    let ranks: Vec<usize> = (0..texts)
        .map(|t| rank(&by_text[t], |p| p == right[t]))
        .collect();
    agree(itc.text_to_image, &ranks, "ITC, photos");
    let ranks: Vec<usize> = (0..photos)
        .map(|p| rank(&by_photo[p], |t| right[t] == p))
        .collect();
    agree(itc.image_to_text, &ranks, "ITC, captions");

    for (i, k) in depths.into_iter().enumerate() {
        let ranks: Vec<usize> = (0..texts)
            .map(|t| {
                let (mut read, rest) = (by_text[t].clone(), k.min(photos));
                let unread = read.split_off(rest);
                let odds = |p: usize| logits(t, p).yes - logits(t, p).no;
                read.sort_by(|a, b| odds(*b).total_cmp(&odds(*a)));
                read.extend(unread);
                rank(&read, |p| p == right[t])
            })
            .collect();
        agree(found.search[i].found, &ranks, "search");

        let matrix: Vec<Vec<f32>> = (0..texts)
            .map(|t| {
                (0..photos)
                    .map(|p| {
                        let read = by_text[t].iter().take(k).any(|x| *x == p)
                            || by_photo[p].iter().take(k).any(|x| *x == t);
                        if read { logits(t, p).yes } else { -100.0 }
                    })
                    .collect()
            })
            .collect();
        let authors = found.authors[i].found;
        let ranks: Vec<usize> = (0..texts)
            .map(|t| {
                let own = matrix[t][right[t]];
                matrix[t].iter().filter(|score| **score >= own).count()
            })
            .collect();
        agree(authors.text_to_image, &ranks, "authors, photos");
        let ranks: Vec<usize> = (0..photos)
            .map(|p| {
                let own = (0..texts).filter(|t| right[*t] == p);
                let best = own.map(|t| matrix[t][p]).fold(f32::MIN, f32::max);
                let wrong = (0..texts).filter(|t| right[*t] != p);
                1 + wrong.filter(|t| matrix[*t][p] >= best).count()
            })
            .collect();
        agree(authors.image_to_text, &ranks, "authors, captions");
    }
}

#[test]
fn probabilities_are_those_of_single_pairs() {
    let engine = engine("tiny-random");
    let data = dataset();
    let found = run(&engine, data.clone(), &[100]);
    let captions = data.captions.iter().map(|c| c.text.as_str());
    let texts: Vec<&str> = captions
        .chain(data.absent.iter().map(String::as_str))
        .collect();
    let scores = pairs(&engine, &texts, &data.photos);
    let p = |t: usize, photo: usize| f64::from(scores[t][photo].logits.match_probability());

    let reliability = found.reliability.expect("ITM");
    assert_eq!(reliability.pairs, texts.len() * data.photos.len());
    for bin in &reliability.bins {
        let all = scores.iter().enumerate().flat_map(|(t, row)| {
            let p = |photo| p(t, photo);
            (0..row.len()).map(p).collect::<Vec<_>>()
        });
        let inside: Vec<f64> = all.filter(|p| *p >= bin.from && *p < bin.to).collect();
        assert_eq!(bin.pairs, inside.len());
        if let Some(mean) = bin.mean_probability {
            close(mean, inside.iter().sum::<f64>() / inside.len() as f64, "p");
        }
    }
    let right: usize = reliability.bins.iter().map(|bin| bin.right).sum();
    assert_eq!(right, data.captions.len());

    let cut_offs = found.cut_offs.expect("ITM");
    assert_eq!(
        (cut_offs.answerable, cut_offs.absent_queries),
        (data.captions.len(), 2)
    );
    for cut in &cut_offs.cuts {
        let least = f64::from(cut.min_score);
        let own = data.captions.iter().enumerate();
        let kept = own.filter(|(t, c)| p(*t, c.photo) >= least).count();
        close(cut.right_kept, kept as f64 / 14.0, "kept");
        let quiet = (14..16).filter(|t| (0..data.photos.len()).all(|photo| p(*t, photo) < least));
        let quiet = quiet.count() as f64 / 2.0;
        close(cut.absent_quiet.expect("given"), quiet, "quiet");
    }

    let foils = found.foils.expect("given");
    let (mut itm, mut itc) = (0, 0);
    for foil in &data.foils {
        let photo = std::slice::from_ref(&data.photos[foil.photo]);
        let scores = pairs(&engine, &[&foil.caption, &foil.foil], photo);
        let odds = |s: PairScore| s.logits.yes - s.logits.no;
        itm += usize::from(odds(scores[0][0]) > odds(scores[1][0]));
        itc += usize::from(scores[0][0].similarity > scores[1][0].similarity);
    }
    close(
        foils.itm.expect("ITM"),
        f64::from(itm as u32) / 7.0,
        "foils",
    );
    close(
        foils.itc.expect("ITC"),
        f64::from(itc as u32) / 7.0,
        "foils",
    );
}

/// The model's own guess is right, anything else is wrong.
#[test]
fn masked_words_are_compared_with_what_the_model_says() {
    let engine = engine("tiny-random");
    let mut data = dataset();
    let text = engine.processor().text().encode(&data.cloze[0].text);
    let photo = engine
        .processor()
        .read_photo(&data.photos[1])
        .expect("reads");
    let filled = engine
        .fill(&text.expect("encodes"), &photo.0, 6)
        .expect("fills");
    let guess = |i: usize| filled.masks[0].candidates[i].0.trim().to_owned();
    data.cloze = [0, 3, 5]
        .map(|i| Cloze {
            answer: guess(i),
            ..data.cloze[0].clone()
        })
        .into();
    let found = run(&engine, data, &[1]).cloze.expect("MLM");
    assert_eq!(found.items, 3);
    close(found.top_1, 1.0 / 3.0, "first");
    close(found.top_5, 2.0 / 3.0, "five");
}

#[test]
fn what_cannot_be_measured_is_said_so() {
    let without_itm = engine("sharded-safetensors");
    let mut data = dataset();
    data.foils.clear();
    let found = run(&without_itm, data.clone(), &[5]);
    assert!(found.itc.is_some() && found.search.is_empty() && found.cut_offs.is_none());
    let sections: Vec<_> = found.skipped.iter().map(|s| s.section).collect();
    for section in ["search", "authors", "reliability", "cut_offs", "foils"] {
        assert!(sections.contains(&section), "{section}");
    }
    let without_itc = engine("old-bin");
    let found = run(&without_itc, data, &[5]);
    assert!(found.itc.is_none() && found.search.is_empty());
    assert!(found.cloze.is_some());
}
