//! Sparklines: a series of numbers in one line of text.

const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// The numbers as bars, scaled from the smallest to the largest. If there are more than `width`,
/// each bar is the mean of a block. A number that is not finite is a space.
pub fn sparkline(numbers: &[f64], width: usize) -> String {
    let bars = numbers.len().min(width.max(1));
    let share = |bar: usize| bar * numbers.len() / bars.max(1);
    let means: Vec<Option<f64>> = (0..bars)
        .map(|bar| {
            let finite: Vec<f64> = numbers[share(bar)..share(bar + 1)]
                .iter()
                .copied()
                .filter(|number| number.is_finite())
                .collect();
            (!finite.is_empty()).then(|| finite.iter().sum::<f64>() / finite.len() as f64)
        })
        .collect();
    let least = means.iter().flatten().copied().fold(f64::INFINITY, f64::min);
    let most = means.iter().flatten().copied().fold(f64::NEG_INFINITY, f64::max);
    let bar = |mean: f64| match most - least {
        range if range > 0.0 => {
            BARS[((mean - least) / range * (BARS.len() - 1) as f64).round() as usize]
        }
        _ => BARS[0],
    };
    means.into_iter().map(|mean| mean.map_or(' ', bar)).collect()
}

#[cfg(test)]
mod tests {
    use super::sparkline;

    #[test]
    fn the_smallest_is_the_lowest_and_the_largest_the_highest() {
        assert_eq!(sparkline(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0], 40), "▁▂▃▄▅▆▇█");
        assert_eq!(sparkline(&[5.0, f64::NAN, -5.0], 40), "█ ▁");
        assert_eq!(sparkline(&[2.0, 2.0], 40), "▁▁");
        assert_eq!(sparkline(&[], 40), "");
        assert_eq!(sparkline(&[0.0, 0.0, 1.0, 1.0, 2.0, 2.0], 3), "▁▅█");
        assert_eq!(sparkline(&[1.0, 2.0], 0).chars().count(), 1);
    }
}
