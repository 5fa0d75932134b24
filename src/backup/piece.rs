//! Cutting large files into pieces that are read side by side.

use futures::{StreamExt as _, TryStreamExt as _};

use super::error::BackupError;
use super::expand::Input;
use super::source;

/// How many files are looked into at the same time.
const AT_A_TIME: usize = 16;

/// A part of a file that can be read without the rest: all lines that begin in it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Piece {
    /// The file.
    pub input: Input,
    /// Its first byte. Lines are counted from 1 in each piece, offsets from the start of the file.
    pub from: u64,
    /// The first byte that is not its; `None` reads to the end.
    pub to: Option<u64>,
}

impl Piece {
    /// All of `input`.
    pub fn whole(input: Input) -> Self {
        Self { input, from: 0, to: None }
    }
}

/// Cuts files into pieces of about `bytes` each, in order. A compressed file, and standard input, is one piece.
///
/// # Errors
/// A file can't be opened to see whether it is compressed.
pub async fn pieces(inputs: &[Input], s3: Option<&aws_sdk_s3::Client>, bytes: u64) -> Result<Vec<Piece>, BackupError> {
    let cut = inputs.iter().map(async |input| match input.bytes {
        Some(size) if size > bytes && !source::is_compressed(&input.location, s3).await? => {
            Ok(evenly(input, size, bytes))
        }
        _ => Ok(vec![Piece::whole(input.clone())]),
    });
    let cut: Vec<Vec<Piece>> = futures::stream::iter(cut).buffered(AT_A_TIME).try_collect().await?;
    Ok(cut.concat())
}

/// The pieces of a plain file of `size` bytes, none longer than `bytes`.
fn evenly(input: &Input, size: u64, bytes: u64) -> Vec<Piece> {
    let count = size.div_ceil(bytes.max(1));
    let begin = |number: u64| (u128::from(size) * u128::from(number) / u128::from(count)) as u64;
    (0..count)
        .map(|number| Piece {
            input: input.clone(),
            from: begin(number),
            // The last one ends with the file, whose size bounds every reader.
            to: (number + 1 < count).then(|| begin(number + 1)),
        })
        .collect()
}
