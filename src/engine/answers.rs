//! The model's answers, in numbers and words.

use crate::embedding::Embedding;

/// The matching (ITM) head's logits for a text and a photo.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ItmLogits {
    /// Logit of "no match".
    pub no: f32,
    /// Logit of "match".
    pub yes: f32,
}

impl ItmLogits {
    /// The probability of a match, `softmax([no, yes])[1]`.
    pub fn match_probability(self) -> f32 {
        self.log_probability(true).exp() as f32
    }

    /// Whether both are numbers: a damaged checkpoint or too narrow a number format computes NaN or infinity.
    pub fn are_finite(self) -> bool {
        self.no.is_finite() && self.yes.is_finite()
    }

    /// Natural logarithm of the probability of a match, or of no match; exact where the probability itself
    /// would round to 1.
    pub(crate) fn log_probability(self, of_match: bool) -> f64 {
        let odds = f64::from(self.yes) - f64::from(self.no);
        let odds = if of_match { odds } else { -odds };
        -(-odds.abs()).exp().ln_1p() + odds.min(0.0)
    }
}

/// The scores of a text and a photo.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PairScore {
    /// The matching head's logits.
    pub logits: ItmLogits,
    /// Cosine of the two ITC embeddings, where the checkpoint has those heads.
    pub similarity: Option<f32>,
}

/// A text with its masked words filled in.
#[derive(Debug, Clone, PartialEq)]
pub struct Filled {
    /// The likeliest token of every position, `<s>` and `</s>` included.
    pub token_ids: Vec<u32>,
    /// Those tokens as text.
    pub text: String,
    /// One entry for each `<mask>`, in order.
    pub masks: Vec<FilledMask>,
}

/// Candidates for one `<mask>`.
#[derive(Debug, Clone, PartialEq)]
pub struct FilledMask {
    /// Position in the token sequence.
    pub position: usize,
    /// Tokens as text (a leading space is part of most) and their probabilities, likeliest first.
    pub candidates: Vec<(String, f32)>,
}

/// The contrastive loss of a batch of matching texts and photos, with its three sets of embeddings.
#[derive(Debug, Clone, PartialEq)]
pub struct Contrast {
    /// The mean of the three cross-entropies.
    pub loss: f32,
    /// Of the texts.
    pub text_embeds: Vec<Embedding>,
    /// Of the photos.
    pub image_embeds: Vec<Embedding>,
    /// Of the pairs.
    pub cross_embeds: Vec<Embedding>,
}

/// The `top` largest probabilities with their indices, largest first.
pub(super) fn likeliest(probabilities: &[f32], top: usize) -> impl Iterator<Item = (u32, f32)> {
    let mut ranked: Vec<(u32, f32)> = probabilities
        .iter()
        .enumerate()
        .map(|(i, p)| (i as u32, *p))
        .collect();
    ranked.sort_by(|a, b| b.1.total_cmp(&a.1));
    ranked.into_iter().take(top)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn match_probability_is_a_softmax() {
        let logits = ItmLogits { no: 0.5, yes: 2.0 };
        let expected = 2f32.exp() / (2f32.exp() + 0.5f32.exp());
        assert!((logits.match_probability() - expected).abs() < 1e-6);
        let sum = logits.log_probability(true).exp() + logits.log_probability(false).exp();
        assert!((sum - 1.0).abs() < 1e-12);
    }

    #[test]
    fn sure_matches_still_have_an_order() {
        let (sure, surer) = (
            ItmLogits {
                no: -20.0,
                yes: 20.0,
            },
            ItmLogits {
                no: -21.0,
                yes: 20.0,
            },
        );
        assert!((sure.match_probability() - surer.match_probability()).abs() < f32::EPSILON);
        assert!(sure.log_probability(true) < surer.log_probability(true));
        let hopeless = ItmLogits { no: 1e4, yes: -1e4 };
        assert!((hopeless.log_probability(true) + 2e4).abs() < 1e-6);
    }
}
