//! The tokenizer, trained on the text of a [`World`], and the rows of token ids that training
//! reads.

use std::path::Path;

use precompute::{Result, error};
use tokenizers::models::bpe::{BPE, BpeTrainerBuilder};
use tokenizers::normalizers::NFC;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::processors::template::TemplateProcessing;
use tokenizers::{AddedToken, NormalizerWrapper, Tokenizer, TokenizerBuilder};

use crate::world::{Split, Task, World};

/// A prompt and the token that continues it.
pub struct Question {
    /// The token ids of the prompt.
    pub ids: Vec<u32>,
    /// The token id of the answer.
    pub answer: u32,
}

/// Text as token ids.
pub struct Text {
    tokenizer: Tokenizer,
    /// The token that every text begins with: OPT has one, GPT-NeoX has none.
    opening: Option<u32>,
    /// The tokens of random sequences.
    words: std::ops::Range<u32>,
}

/// One row of a batch.
pub struct Row {
    /// The token ids.
    pub ids: Vec<u32>,
    /// The weight of each token's prediction in the loss.
    pub weights: Vec<f32>,
}

/// The weight of an answer in the loss, where other tokens have 1.
const ANSWER_WEIGHT: f32 = 6.0;

fn failed(error: tokenizers::Error) -> precompute::Error {
    error!("the tokenizer: {error}")
}

impl Text {
    /// Trains a byte-level BPE tokenizer of 1024 tokens for the family.
    ///
    /// # Errors
    /// The tokenizers library fails.
    pub fn train(family: &str, seed: u64) -> Result<Self> {
        let mut world = World::new(seed);
        let mut corpus = Vec::new();
        for round in 0..9000 {
            let task = Task::ALL[round % Task::ALL.len()];
            let sentence = world.sentence(task, Split::Train);
            corpus.push(format!(" {}{}{}", sentence.prompt, sentence.answer, sentence.ending));
            corpus.push(format!(" {}", world.counting()));
            corpus.push(format!(" {}", world.brackets()));
        }
        let special: &[&str] = match family {
            "opt" => &["<s>", "<pad>", "</s>", "<unk>"],
            _ => &["<|endoftext|>", "<|padding|>"],
        };
        let mut trainer = BpeTrainerBuilder::new()
            .vocab_size(1024)
            .show_progress(false)
            .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
            .special_tokens(special.iter().map(|s| AddedToken::from(*s, true)).collect())
            .build();
        let bytes = ByteLevel::default().add_prefix_space(false);
        let mut tokenizer = TokenizerBuilder::new()
            .with_model(BPE::default())
            // As Pythia's tokenizer has it, and transformers for every GPT-NeoX.
            .with_normalizer((family == "gpt-neox").then(|| NormalizerWrapper::from(NFC)))
            .with_pre_tokenizer(Some(bytes))
            .with_post_processor(Some(bytes.trim_offsets(false)))
            .with_decoder(Some(bytes))
            .build()
            .map_err(failed)?;
        tokenizer.train(&mut trainer, corpus.into_iter()).map_err(failed)?;
        let json = serde_json::to_string(&tokenizer).map_err(|e| error!("the tokenizer: {e}"))?;
        let mut tokenizer: Tokenizer = json.parse().map_err(failed)?;
        if family == "opt" {
            let opening = TemplateProcessing::builder()
                .try_single("</s> $A")
                .map_err(|e| error!("the tokenizer: {e}"))?
                .special_tokens(vec![("</s>", 2)])
                .build()
                .map_err(|e| error!("the tokenizer: {e}"))?;
            tokenizer.with_post_processor(Some(opening));
        }
        let words = 300..tokenizer.get_vocab_size(true) as u32;
        Ok(Self { tokenizer, opening: (family == "opt").then_some(2), words })
    }

    /// The number of tokens.
    pub fn vocabulary(&self) -> usize {
        self.tokenizer.get_vocab_size(true)
    }

    /// Writes tokenizer.json.
    ///
    /// # Errors
    /// The file can't be written.
    pub fn save(&self, path: &Path) -> Result<()> {
        self.tokenizer.save(path, true).map_err(failed)
    }

    fn encode(&self, text: &str) -> Result<Vec<u32>> {
        Ok(self.tokenizer.encode(text, false).map_err(failed)?.get_ids().to_vec())
    }

    /// The token of an answer.
    ///
    /// # Errors
    /// The tokenizer has no single token for it.
    fn answer(&self, text: &str) -> Result<u32> {
        match self.encode(text)?.as_slice() {
            &[id] => Ok(id),
            ids => Err(error!("the tokenizer makes {} tokens of the answer {text:?}", ids.len())),
        }
    }

    /// A row of `length` tokens: a repeated random sequence, or sentences.
    ///
    /// # Errors
    /// The tokenizer has no single token for an answer.
    pub fn row(&self, world: &mut World, length: usize) -> Result<Row> {
        let mut ids: Vec<u32> = self.opening.into_iter().collect();
        let mut weights = vec![0.0; ids.len()];
        if world.chance(0.3) {
            let (repeated, round) = world.repeated(self.words.clone(), length - ids.len());
            // The first round is random and can't be predicted.
            weights.extend((0..repeated.len()).map(|i| if i < round { 0.0 } else { 1.0 }));
            ids.extend(repeated);
            return Ok(Row { ids, weights });
        }
        while ids.len() < length {
            let space = if weights.len() == self.opening.iter().len() { "" } else { " " };
            if world.chance(0.12) {
                let text = if world.chance(0.5) { world.counting() } else { world.brackets() };
                ids.extend(self.encode(&format!("{space}{text}"))?);
                weights.resize(ids.len(), 1.0);
                continue;
            }
            let task = world.task();
            let sentence = world.sentence(task, Split::Train);
            ids.extend(self.encode(&format!("{space}{}", sentence.prompt))?);
            weights.resize(ids.len(), 1.0);
            ids.push(self.answer(&sentence.answer)?);
            weights.push(ANSWER_WEIGHT);
            ids.extend(self.encode(&sentence.ending)?);
            weights.resize(ids.len(), 1.0);
        }
        ids.truncate(length);
        weights.truncate(length);
        Ok(Row { ids, weights })
    }

    /// A held-out question without other text before it.
    ///
    /// # Errors
    /// The tokenizer has no single token for the answer.
    pub fn question(&self, world: &mut World, task: Task) -> Result<Question> {
        let sentence = world.sentence(task, Split::HeldOut);
        let ids = self.opening.into_iter().chain(self.encode(&sentence.prompt)?).collect();
        Ok(Question { ids, answer: self.answer(&sentence.answer)? })
    }

    /// A random sequence of `round` tokens, twice, and the position where the second round begins.
    pub fn induction(&self, world: &mut World, round: usize) -> (Vec<u32>, usize) {
        let opening: Vec<u32> = self.opening.into_iter().collect();
        let sequence = world.random_tokens(self.words.clone(), round);
        let start = opening.len() + round;
        ([opening, sequence.clone(), sequence].concat(), start)
    }
}
