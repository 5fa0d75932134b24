//! Being built.

/// Formats of a backup file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// One base64 column.
    Csv64,
    /// One quoted JSON column.
    Csv,
    /// One item a line.
    Jsonl,
}
