//! A sparkline: the shape of a few minutes in one row.

use crate::console::theme::Theme;

/// `values` scaled to `top`, one column each; `None` is a gap.
pub fn sparkline(theme: &Theme, values: &[Option<f64>], top: f64) -> String {
    let steps = theme.glyphs.sparks;
    values
        .iter()
        .map(|value| match value {
            None => " ",
            Some(v) if top <= 0.0 || *v <= 0.0 => steps[0],
            Some(v) => steps[((v / top * steps.len() as f64).ceil() as usize).clamp(1, steps.len()) - 1],
        })
        .collect()
}

/// Puts points (ms, value) of a window into `columns` bins by their mean; a bin without a point takes the one before if
/// that is at most `hold_ms` old.
pub fn bins(
    points: impl IntoIterator<Item = (i64, f64)>,
    from_ms: i64,
    to_ms: i64,
    columns: usize,
    hold_ms: i64,
) -> Vec<Option<f64>> {
    let span = (to_ms - from_ms).max(1);
    let mut sums = vec![(0.0, 0_u32); columns];
    let mut before: Option<(i64, f64)> = None;
    for (at, value) in points {
        if at < from_ms {
            before = Some((at, value));
        } else if at < to_ms {
            let bin = (i128::from(at - from_ms) * columns as i128 / i128::from(span)) as usize;
            if let Some(sum) = sums.get_mut(bin) {
                sum.0 += value;
                sum.1 += 1;
            }
        }
    }
    let mut held = before;
    sums.iter()
        .enumerate()
        .map(|(i, (sum, n))| {
            let start = from_ms + (i as i128 * i128::from(span) / columns.max(1) as i128) as i64;
            if *n > 0 {
                let mean = sum / f64::from(*n);
                held = Some((start, mean));
                return Some(mean);
            }
            held.filter(|(at, _)| start - at < hold_ms).map(|(_, value)| value)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_is_a_line_and_an_unknown_second_is_a_gap() {
        let theme = Theme::plain(true);
        assert_eq!(sparkline(&theme, &[Some(0.0), None, Some(50.0), Some(100.0), Some(200.0)], 100.0), "▁ ▄██");
    }

    #[test]
    fn a_minute_fills_the_bins_that_it_lasts() {
        let minutes = [(0, 6.0), (60_000, 12.0)];
        let binned = bins(minutes, 0, 180_000, 6, 60_000);
        assert_eq!(binned, [Some(6.0), Some(6.0), Some(12.0), Some(12.0), None, None]);
    }
}
