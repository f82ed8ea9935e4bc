//! The matrices of Winograd's minimal filtering: `m` neighbouring outputs of a window of three from `m + 2` inputs
//! with as many products.
//!
//! Along one axis `y = Aᵀ ((G g) ∘ (Bᵀ d))`, in two dimensions with the matrices on both sides. They are those of
//! interpolation at 0, ±a, ±b and infinity. With a = 5/8 and b = 3/2 powers stay near one, which keeps rounding
//! errors lower than with 1 and 2, and all entries but some of `G` are exact in f32.

/// The matrices for one size of tiles.
#[derive(Clone, Copy, Debug)]
pub struct Winograd {
    /// The outputs of a tile along an axis.
    pub outputs: usize,
    /// `Bᵀ`: from inputs to factors.
    pub input: &'static [&'static [f64]],
    /// `G`: from the window to factors.
    pub window: &'static [&'static [f64]],
    /// `Aᵀ`: from products to outputs.
    pub output: &'static [&'static [f64]],
}

impl Winograd {
    /// The matrices for tiles of so many outputs along an axis.
    pub fn of(outputs: i64) -> Option<&'static Winograd> {
        ALL.iter().find(|w| w.outputs as i64 == outputs)
    }

    /// The inputs of a tile along an axis, which are as many as its products.
    pub fn inputs(&self) -> usize {
        self.input.len()
    }
}

/// A matrix on both sides of a square one, all in rows.
pub fn both_sides(matrix: &[&[f64]], square: &[f64]) -> Vec<f64> {
    let inner = matrix[0].len();
    let mut half = vec![0.0; matrix.len() * inner];
    for (row, sums) in matrix.iter().zip(half.chunks_exact_mut(inner)) {
        for (factor, line) in row.iter().zip(square.chunks_exact(inner)) {
            sums.iter_mut().zip(line).for_each(|(sum, x)| *sum += factor * x);
        }
    }
    let product = |line: &[f64], row: &[f64]| line.iter().zip(row).map(|(x, factor)| x * factor).sum();
    half.chunks_exact(inner).flat_map(|line| matrix.iter().map(move |row| product(line, row))).collect()
}

/// The tiles there are matrices for.
pub static ALL: &[Winograd] = &[
    Winograd {
        outputs: 2,
        input: &[
            &[1.0, 0.0, -1.0, 0.0],
            &[0.0, 1.0, 1.0, 0.0],
            &[0.0, -1.0, 1.0, 0.0],
            &[0.0, -1.0, 0.0, 1.0],
        ],
        window: &[&[1.0, 0.0, 0.0], &[0.5, 0.5, 0.5], &[0.5, -0.5, 0.5], &[0.0, 0.0, 1.0]],
        output: &[&[1.0, 1.0, 1.0, 0.0], &[0.0, 1.0, -1.0, 1.0]],
    },
    Winograd {
        outputs: 4,
        input: &[
            &[A2 * B2, 0.0, -(A2 + B2), 0.0, 1.0, 0.0],
            &[0.0, -A * B2, -B2, A, 1.0, 0.0],
            &[0.0, A * B2, -B2, -A, 1.0, 0.0],
            &[0.0, -B * A2, -A2, B, 1.0, 0.0],
            &[0.0, B * A2, -A2, -B, 1.0, 0.0],
            &[0.0, A2 * B2, 0.0, -(A2 + B2), 0.0, 1.0],
        ],
        window: &[
            &[1.0 / (A2 * B2), 0.0, 0.0],
            &[1.0 / NA, A / NA, A2 / NA],
            &[1.0 / NA, -A / NA, A2 / NA],
            &[1.0 / NB, B / NB, B2 / NB],
            &[1.0 / NB, -B / NB, B2 / NB],
            &[0.0, 0.0, 1.0],
        ],
        output: &[
            &[1.0, 1.0, 1.0, 1.0, 1.0, 0.0],
            &[0.0, A, -A, B, -B, 0.0],
            &[0.0, A2, A2, B2, B2, 0.0],
            &[0.0, A * A2, -A * A2, B * B2, -B * B2, 1.0],
        ],
    },
];

/// The points of interpolation, their squares, and the products of their distances to the others.
const A: f64 = 0.625;
const B: f64 = 1.5;
const A2: f64 = A * A;
const B2: f64 = B * B;
const NA: f64 = 2.0 * A2 * (A2 - B2);
const NB: f64 = 2.0 * B2 * (B2 - A2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_are_convolutions() {
        for winograd in ALL {
            let inputs = winograd.inputs();
            let d: Vec<f64> = (0..inputs * inputs).map(|i| ((i * 7) % 11) as f64 - 4.0).collect();
            let g: Vec<f64> = (0..9).map(|i| ((i * 5) % 7) as f64 - 2.5).collect();
            let (input, window) = (both_sides(winograd.input, &d), both_sides(winograd.window, &g));
            let products: Vec<f64> = input.iter().zip(&window).map(|(x, y)| x * y).collect();
            let outputs = both_sides(winograd.output, &products);
            for (at, got) in outputs.iter().enumerate() {
                let (row, column) = (at / winograd.outputs, at % winograd.outputs);
                let tap = |k: usize| g[k] * d[(row + k / 3) * inputs + column + k % 3];
                let want: f64 = (0..9).map(tap).sum();
                assert!((got - want).abs() < 1e-11, "{got} {want}");
            }
        }
    }
}
