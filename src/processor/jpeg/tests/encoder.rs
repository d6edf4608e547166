//! A JPEG encoder that writes every coding that a test wants, rare ones above all: any sampling factors, any order of
//! scans, restart markers, progressive refinement. Written from ITU-T T.81; it shares nothing with the decoders.

use std::cmp::Reverse;
use std::f64::consts::PI;

/// The marker of a frame header, second byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Process {
    Baseline = 0xc0,
    Extended = 0xc1,
    Progressive = 0xc2,
}

/// What the components hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colours {
    Gray,
    Ycc,
    Rgb,
    /// Inverted, as Adobe writes it.
    Cmyk,
    /// The same with cyan, magenta and yellow as YCbCr.
    Ycck,
}

/// One scan: which components, which coefficients, which of their bits.
#[derive(Debug, Clone)]
pub struct Scan {
    pub components: Vec<usize>,
    /// First and last coefficient, in zigzag order.
    pub spectrum: (usize, usize),
    /// Successive approximation: the bit that earlier scans came to (0: none), and the one that this comes to.
    pub bits: (u8, u8),
}

/// A picture and how it is coded.
#[derive(Debug, Clone)]
pub struct Coding {
    pub width: u16,
    pub height: u16,
    pub process: Process,
    pub colours: Colours,
    /// Horizontal and vertical sampling factor of each component.
    pub sampling: Vec<(u8, u8)>,
    pub scans: Vec<Scan>,
    /// MCUs between restart markers; 0: none.
    pub restart_interval: u16,
    /// Component ids.
    pub ids: Vec<u8>,
    /// Whether JFIF's segment is there.
    pub jfif: bool,
    /// The colour transform of Adobe's segment.
    pub adobe: Option<u8>,
    /// Whether the height follows the first scan.
    pub dnl: bool,
    /// How much fine detail the picture has, levels.
    pub texture: f64,
}

impl Coding {
    /// An ordinary file: baseline, all components in one scan.
    pub fn new(width: u16, height: u16, colours: Colours, sampling: &[(u8, u8)]) -> Self {
        let count = sampling.len();
        Self {
            width,
            height,
            process: Process::Baseline,
            colours,
            sampling: sampling.to_vec(),
            scans: vec![Scan::whole(&[0, 1, 2, 3][..count])],
            restart_interval: 0,
            ids: (1..=count as u8).collect(),
            jfif: matches!(colours, Colours::Gray | Colours::Ycc),
            adobe: match colours {
                Colours::Gray | Colours::Ycc => None,
                Colours::Rgb | Colours::Cmyk => Some(0),
                Colours::Ycck => Some(2),
            },
            dnl: false,
            texture: 0.0,
        }
    }

    /// Every component in a scan of its own.
    pub fn in_separate_scans(mut self) -> Self {
        self.scans = (0..self.sampling.len())
            .map(|component| Scan::whole(&[component]))
            .collect();
        self
    }

    /// The script that libjpeg's `jpeg_simple_progression` writes for YCbCr, for any number of components.
    pub fn progressive(mut self) -> Self {
        let all: Vec<usize> = (0..self.sampling.len()).collect();
        let mut scans = vec![Scan::new(&all, (0, 0), (0, 1))];
        scans.push(Scan::new(&[0], (1, 5), (0, 2)));
        let rest = &all[1..];
        scans.extend(rest.iter().map(|c| Scan::new(&[*c], (1, 63), (0, 1))));
        scans.push(Scan::new(&[0], (6, 63), (0, 2)));
        scans.push(Scan::new(&[0], (1, 63), (2, 1)));
        scans.push(Scan::new(&all, (0, 0), (1, 0)));
        scans.extend(rest.iter().map(|c| Scan::new(&[*c], (1, 63), (1, 0))));
        scans.push(Scan::new(&[0], (1, 63), (1, 0)));
        self.process = Process::Progressive;
        self.scans = scans;
        self
    }

    /// Progressive by spectral selection alone, each component for itself.
    pub fn by_spectrum(mut self) -> Self {
        self.process = Process::Progressive;
        self.scans = [(0, 0), (1, 2), (3, 40), (41, 63)]
            .into_iter()
            .flat_map(|spectrum| {
                (0..self.sampling.len()).map(move |c| Scan::new(&[c], spectrum, (0, 0)))
            })
            .collect();
        self
    }

    /// Channel `channel` of the picture at a pixel: what a right decoder gives, but for rounding and what
    /// coarse sampling costs. Gray; red, green, blue; or the inks.
    pub fn level(&self, channel: usize, x: usize, y: usize) -> f64 {
        const WAVES: [(f64, f64, f64); 4] = [
            (61.0, 83.0, 0.3),
            (97.0, -71.0, 1.9),
            (-89.0, 67.0, 4.0),
            (73.0, 101.0, 2.6),
        ];
        let (across, down, phase) = WAVES[channel];
        let (x, y) = (x as f64, y as f64);
        let wave = (2.0 * PI * (x / across + y / down) + phase).sin();
        // The same in all channels, so that YCbCr has it in its luma alone.
        let detail = (x * 12.9898 + y * 78.233).sin() * 43_758.545_3;
        128.0 + 80.0 * wave + self.texture * (detail - detail.floor() - 0.5)
    }

    /// The file.
    pub fn encode(&self) -> Vec<u8> {
        Encoder::new(self).file()
    }

    /// The components as they are stored, at a pixel.
    fn stored(&self, component: usize, x: usize, y: usize) -> f64 {
        let level = |channel| self.level(channel, x, y);
        match (self.colours, component) {
            (Colours::Cmyk, _) | (Colours::Ycck, 3) => 255.0 - level(component),
            (Colours::Ycc | Colours::Ycck, _) => {
                let (red, green, blue) = (level(0), level(1), level(2));
                let luma = 0.299 * red + 0.587 * green + 0.114 * blue;
                match component {
                    0 => luma,
                    1 => 128.0 + (blue - luma) / 1.772,
                    _ => 128.0 + (red - luma) / 1.402,
                }
            }
            (Colours::Gray | Colours::Rgb, _) => level(component),
        }
    }
}

impl Scan {
    pub fn new(components: &[usize], spectrum: (usize, usize), bits: (u8, u8)) -> Self {
        Self {
            components: components.to_vec(),
            spectrum,
            bits,
        }
    }

    fn whole(components: &[usize]) -> Self {
        Self::new(components, (0, 63), (0, 0))
    }
}

/// Zigzag order: where each coefficient lies in its block.
const ZIGZAG: [usize; 64] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20,
    13, 6, 7, 14, 21, 28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59,
    52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
];

/// How many Huffman codes have 1, 2, … 16 bits, if there are so many symbols: few are short, most at full length.
const CODE_LENGTHS: [u8; 16] = [0, 1, 2, 3, 4, 5, 4, 6, 8, 10, 0, 0, 0, 0, 0, 213];

struct Encoder<'a> {
    coding: &'a Coding,
    h_max: usize,
    v_max: usize,
    planes: Vec<Plane>,
    file: Vec<u8>,
}

/// One component's quantised coefficients, in zigzag order.
struct Plane {
    h: usize,
    v: usize,
    /// Blocks across, up to whole MCUs.
    stride: usize,
    /// Blocks that the picture has, across and down.
    across: usize,
    down: usize,
    blocks: Vec<[i32; 64]>,
}

impl<'a> Encoder<'a> {
    fn new(coding: &'a Coding) -> Self {
        let max = |factors: fn(&(u8, u8)) -> u8| coding.sampling.iter().map(factors).max();
        let h_max = usize::from(max(|(h, _)| *h).unwrap());
        let v_max = usize::from(max(|(_, v)| *v).unwrap());
        let planes = (0..coding.sampling.len())
            .map(|component| Plane::new(coding, component, h_max, v_max))
            .collect();
        Self {
            coding,
            h_max,
            v_max,
            planes,
            file: vec![0xff, 0xd8],
        }
    }

    fn file(mut self) -> Vec<u8> {
        if self.coding.jfif {
            self.segment(0xe0, b"JFIF\0\x01\x01\0\0\x01\0\x01\0\0");
        }
        if let Some(transform) = self.coding.adobe {
            self.segment(
                0xee,
                &[b"Adobe\0d\0\0\0\0".as_slice(), &[transform]].concat(),
            );
        }
        for table in 0..2 {
            let mut body = vec![table];
            body.extend(quantisation(usize::from(table)));
            self.segment(0xdb, &body);
        }
        self.frame();
        if self.coding.restart_interval > 0 {
            self.segment(0xdd, &self.coding.restart_interval.to_be_bytes());
        }
        for (at, scan) in self.coding.scans.iter().enumerate() {
            self.scan(scan);
            if at == 0 && self.coding.dnl {
                self.segment(0xdc, &self.coding.height.to_be_bytes());
            }
        }
        self.file.extend([0xff, 0xd9]);
        self.file
    }

    fn segment(&mut self, marker: u8, body: &[u8]) {
        self.file.extend([0xff, marker]);
        self.file.extend((body.len() as u16 + 2).to_be_bytes());
        self.file.extend(body);
    }

    fn frame(&mut self) {
        let height = if self.coding.dnl {
            0
        } else {
            self.coding.height
        };
        let mut body = vec![8];
        body.extend(height.to_be_bytes());
        body.extend(self.coding.width.to_be_bytes());
        body.push(self.planes.len() as u8);
        for (component, (h, v)) in self.coding.sampling.iter().enumerate() {
            body.extend([
                self.coding.ids[component],
                h << 4 | v,
                table_of(component) as u8,
            ]);
        }
        self.segment(self.coding.process as u8, &body);
    }

    fn scan(&mut self, scan: &Scan) {
        let mut tokens = Tokens::new(scan, self.coding.process == Process::Progressive);
        for (at, mcu) in self.mcus(scan).into_iter().enumerate() {
            let interval = usize::from(self.coding.restart_interval);
            if interval > 0 && at > 0 && at % interval == 0 {
                tokens.restart((at / interval - 1) as u8 % 8);
            }
            for (component, block) in mcu {
                tokens.block(component, &self.planes[component].blocks[block]);
            }
        }
        tokens.end_run();
        let tables = tokens.tables();
        for (index, symbols) in &tables {
            let body = [&[*index], code_lengths(symbols.len()).as_slice(), symbols].concat();
            self.segment(0xc4, &body);
        }
        let mut body = vec![scan.components.len() as u8];
        for component in &scan.components {
            let table = table_of(*component) as u8;
            body.extend([self.coding.ids[*component], table << 4 | table]);
        }
        body.extend([
            scan.spectrum.0 as u8,
            scan.spectrum.1 as u8,
            scan.bits.0 << 4 | scan.bits.1,
        ]);
        self.segment(0xda, &body);
        tokens.write(&tables, &mut self.file);
    }

    /// The blocks of each MCU as component and index. A scan of one component has MCUs of one block, and leaves
    /// out the blocks beyond the picture's edge.
    fn mcus(&self, scan: &Scan) -> Vec<Vec<(usize, usize)>> {
        if let [component] = scan.components[..] {
            let plane = &self.planes[component];
            return (0..plane.down * plane.across)
                .map(|at| (at / plane.across, at % plane.across))
                .map(|(y, x)| vec![(component, y * plane.stride + x)])
                .collect();
        }
        let across = usize::from(self.coding.width).div_ceil(8 * self.h_max);
        let down = usize::from(self.coding.height).div_ceil(8 * self.v_max);
        let mut mcus = Vec::new();
        for (my, mx) in (0..down).flat_map(|my| (0..across).map(move |mx| (my, mx))) {
            let mut mcu = Vec::new();
            for component in &scan.components {
                let plane = &self.planes[*component];
                for (v, h) in (0..plane.v).flat_map(|v| (0..plane.h).map(move |h| (v, h))) {
                    let block = (my * plane.v + v) * plane.stride + mx * plane.h + h;
                    mcu.push((*component, block));
                }
            }
            mcus.push(mcu);
        }
        mcus
    }
}

impl Plane {
    fn new(coding: &Coding, component: usize, h_max: usize, v_max: usize) -> Self {
        let (h, v) = coding.sampling[component];
        let (h, v) = (usize::from(h), usize::from(v));
        let (width, height) = (usize::from(coding.width), usize::from(coding.height));
        let stride = width.div_ceil(8 * h_max) * h;
        let rows = height.div_ceil(8 * v_max) * v;
        let samples = Samples {
            coding,
            component,
            x_step: h_max as f64 / h as f64,
            y_step: v_max as f64 / v as f64,
        };
        let quantisation = quantisation(table_of(component));
        let blocks = (0..rows * stride)
            .map(|at| samples.coefficients(at % stride, at / stride, &quantisation))
            .collect();
        Self {
            h,
            v,
            stride,
            across: (width * h).div_ceil(h_max).div_ceil(8),
            down: (height * v).div_ceil(v_max).div_ceil(8),
            blocks,
        }
    }
}

/// A component of the picture at its own resolution.
struct Samples<'a> {
    coding: &'a Coding,
    component: usize,
    /// Pixels from sample to sample.
    x_step: f64,
    y_step: f64,
}

impl Samples<'_> {
    /// The mean over the pixels that the sample covers, the last one repeated beyond the edges.
    fn at(&self, x: usize, y: usize) -> f64 {
        let pixels = |at: usize, step: f64, limit: u16| {
            let first = (at as f64 * step).floor() as usize;
            let last = (((at + 1) as f64 * step).ceil() as usize).max(first + 1);
            (first..last).map(move |at| at.min(usize::from(limit) - 1))
        };
        let (mut sum, mut count) = (0.0, 0.0);
        for y in pixels(y, self.y_step, self.coding.height) {
            for x in pixels(x, self.x_step, self.coding.width) {
                sum += self.coding.stored(self.component, x, y);
                count += 1.0;
            }
        }
        sum / count
    }

    /// The forward DCT of T.81, A.3.3, quantised.
    fn coefficients(&self, bx: usize, by: usize, quantisation: &[u8; 64]) -> [i32; 64] {
        let samples: [[f64; 8]; 8] = std::array::from_fn(|y| {
            std::array::from_fn(|x| {
                self.at(bx * 8 + x, by * 8 + y).round().clamp(0.0, 255.0) - 128.0
            })
        });
        let basis = |at: usize, frequency: usize| {
            let norm = if frequency == 0 { 0.5f64.sqrt() } else { 1.0 };
            norm * 0.5 * ((2 * at + 1) as f64 * frequency as f64 * PI / 16.0).cos()
        };
        let basis: [[f64; 8]; 8] =
            std::array::from_fn(|at| std::array::from_fn(|frequency| basis(at, frequency)));
        let rows: [[f64; 8]; 8] = samples
            .map(|row| std::array::from_fn(|u| (0..8).map(|x| row[x] * basis[x][u]).sum::<f64>()));
        std::array::from_fn(|k| {
            let (v, u) = (ZIGZAG[k] / 8, ZIGZAG[k] % 8);
            let coefficient: f64 = (0..8).map(|y| rows[y][u] * basis[y][v]).sum();
            (coefficient / f64::from(quantisation[k])).round() as i32
        })
    }
}

/// Quantisation and Huffman table of a component.
fn table_of(component: usize) -> usize {
    component.min(1)
}

/// Fine steps, other ones in each table.
fn quantisation(table: usize) -> [u8; 64] {
    std::array::from_fn(|k| (1 + (k + 7 * table) / 20) as u8)
}

/// What entropy coding writes.
enum Token {
    Symbol { table: u8, symbol: u8 },
    Bits { value: u32, length: u8 },
    Restart(u8),
}

/// A scan's data before it is known which Huffman codes serve it best.
struct Tokens<'a> {
    scan: &'a Scan,
    progressive: bool,
    list: Vec<Token>,
    /// Last DC coefficient of each component.
    predictions: [i32; 4],
    /// Blocks without further coefficients, not yet written, and the correction bits that follow them.
    run: u32,
    run_bits: Vec<u32>,
}

/// AC tables are numbered from here, as in a DHT segment.
const AC: u8 = 0x10;

impl<'a> Tokens<'a> {
    fn new(scan: &'a Scan, progressive: bool) -> Self {
        Self {
            scan,
            progressive,
            list: Vec::new(),
            predictions: [0; 4],
            run: 0,
            run_bits: Vec::new(),
        }
    }

    fn restart(&mut self, number: u8) {
        self.end_run();
        self.predictions = [0; 4];
        self.list.push(Token::Restart(number));
    }

    fn block(&mut self, component: usize, block: &[i32; 64]) {
        let table = table_of(component) as u8;
        let refines = self.scan.bits.0 > 0;
        match (self.progressive, self.scan.spectrum.0, refines) {
            (false, ..) => {
                self.dc(component, table, block[0]);
                self.sequential(AC | table, block);
            }
            (true, 0, false) => self.dc(component, table, block[0] >> self.scan.bits.1),
            (true, 0, true) => self.bits((block[0] >> self.scan.bits.1) as u32 & 1, 1),
            (true, _, false) => self.first(AC | table, block),
            (true, _, true) => self.refine(AC | table, block),
        }
    }

    fn dc(&mut self, component: usize, table: u8, value: i32) {
        let difference = value - self.predictions[component];
        self.predictions[component] = value;
        self.symbol(table, size(difference));
        self.signed(difference);
    }

    /// T.81, F.1.2.2.
    fn sequential(&mut self, table: u8, block: &[i32; 64]) {
        let mut zeros = 0;
        for value in &block[1..] {
            if *value == 0 {
                zeros += 1;
                continue;
            }
            while zeros > 15 {
                self.symbol(table, 0xf0);
                zeros -= 16;
            }
            self.symbol(table, zeros << 4 | size(*value));
            self.signed(*value);
            zeros = 0;
        }
        if zeros > 0 {
            self.symbol(table, 0);
        }
    }

    /// T.81, G.1.2.2: the first scan of a band.
    fn first(&mut self, table: u8, block: &[i32; 64]) {
        let mut zeros = 0;
        for value in &block[self.scan.spectrum.0..=self.scan.spectrum.1] {
            let value = value.signum() * (value.abs() >> self.scan.bits.1);
            if value == 0 {
                zeros += 1;
                continue;
            }
            self.end_run_in(table);
            while zeros > 15 {
                self.symbol(table, 0xf0);
                zeros -= 16;
            }
            self.symbol(table, zeros << 4 | size(value));
            self.signed(value);
            zeros = 0;
        }
        if zeros > 0 {
            self.lengthen_run(table, Vec::new());
        }
    }

    /// T.81, G.1.2.3: one more bit of a band.
    fn refine(&mut self, table: u8, block: &[i32; 64]) {
        let (first, last) = self.scan.spectrum;
        let size_at = |k: usize| block[k].abs() >> self.scan.bits.1;
        let last_new = (first..=last).rev().find(|k| size_at(*k) == 1).unwrap_or(0);
        let mut zeros = 0;
        let mut corrections: Vec<u32> = Vec::new();
        for (k, value) in block.iter().enumerate().take(last + 1).skip(first) {
            let size = size_at(k);
            if size == 0 {
                zeros += 1;
                continue;
            }
            while zeros > 15 && k <= last_new {
                self.end_run_in(table);
                self.symbol(table, 0xf0);
                self.corrections(&mut corrections);
                zeros -= 16;
            }
            if size > 1 {
                corrections.push(size as u32 & 1);
                continue;
            }
            self.end_run_in(table);
            self.symbol(table, zeros << 4 | 1);
            self.bits(u32::from(*value > 0), 1);
            self.corrections(&mut corrections);
            zeros = 0;
        }
        if zeros > 0 || !corrections.is_empty() {
            self.lengthen_run(table, corrections);
        }
    }

    fn lengthen_run(&mut self, table: u8, corrections: Vec<u32>) {
        self.run += 1;
        self.run_bits.extend(corrections);
        if self.run == 0x7fff {
            self.end_run_in(table);
        }
    }

    fn end_run_in(&mut self, table: u8) {
        if self.run > 0 {
            let length = self.run.ilog2() as u8;
            self.symbol(table, length << 4);
            self.bits(self.run - (1 << length), length);
            let mut corrections = std::mem::take(&mut self.run_bits);
            self.corrections(&mut corrections);
            self.run = 0;
        }
    }

    /// Ends a run at a scan's or an interval's end. Only scans of one component have runs.
    fn end_run(&mut self) {
        self.end_run_in(AC | table_of(self.scan.components[0]) as u8);
    }

    fn corrections(&mut self, corrections: &mut Vec<u32>) {
        for bit in corrections.drain(..) {
            self.bits(bit, 1);
        }
    }

    fn symbol(&mut self, table: u8, symbol: u8) {
        self.list.push(Token::Symbol { table, symbol });
    }

    fn bits(&mut self, value: u32, length: u8) {
        self.list.push(Token::Bits { value, length });
    }

    /// A value's bits after its size: negative ones less one.
    fn signed(&mut self, value: i32) {
        let length = size(value);
        let value = if value < 0 { value - 1 } else { value };
        self.bits(value as u32 & ((1 << length) - 1), length);
    }

    /// Each table in use, with its symbols, the most frequent first.
    fn tables(&self) -> Vec<(u8, Vec<u8>)> {
        let mut counts = vec![[0; 256]; 0x20];
        for token in &self.list {
            if let Token::Symbol { table, symbol } = token {
                counts[usize::from(*table)][usize::from(*symbol)] += 1;
            }
        }
        (0..)
            .zip(counts)
            .map(|(index, counts)| {
                let mut symbols: Vec<u8> = (0..=255)
                    .filter(|symbol| counts[usize::from(*symbol)] > 0)
                    .collect();
                symbols.sort_by_key(|symbol| Reverse(counts[usize::from(*symbol)]));
                (index, symbols)
            })
            .filter(|(_, symbols)| !symbols.is_empty())
            .collect()
    }

    fn write(&self, tables: &[(u8, Vec<u8>)], file: &mut Vec<u8>) {
        let codes: Vec<(u8, [(u32, u8); 256])> = tables
            .iter()
            .map(|(index, symbols)| (*index, codes(symbols)))
            .collect();
        let mut bits = BitWriter {
            file,
            pending: 0,
            count: 0,
        };
        for token in &self.list {
            match token {
                Token::Symbol { table, symbol } => {
                    let (_, codes) = codes.iter().find(|(index, _)| index == table).unwrap();
                    let (code, length) = codes[usize::from(*symbol)];
                    bits.put(code, length);
                }
                Token::Bits { value, length } => bits.put(*value, *length),
                Token::Restart(number) => {
                    bits.fill();
                    bits.file.extend([0xff, 0xd0 + number]);
                }
            }
        }
        bits.fill();
    }
}

fn code_lengths(symbols: usize) -> [u8; 16] {
    let mut rest = symbols;
    CODE_LENGTHS.map(|count| {
        let count = usize::from(count).min(rest) as u8;
        rest -= usize::from(count);
        count
    })
}

/// Code and length of every symbol, T.81, annex C.
fn codes(symbols: &[u8]) -> [(u32, u8); 256] {
    let mut codes = [(0, 0); 256];
    let mut symbols_left = symbols.iter();
    let mut code = 0;
    for (length, count) in (1..).zip(code_lengths(symbols.len())) {
        for symbol in symbols_left.by_ref().take(usize::from(count)) {
            codes[usize::from(*symbol)] = (code, length);
            code += 1;
        }
        code <<= 1;
    }
    codes
}

/// How many bits a value takes.
fn size(value: i32) -> u8 {
    (32 - value.unsigned_abs().leading_zeros()) as u8
}

struct BitWriter<'a> {
    file: &'a mut Vec<u8>,
    pending: u64,
    count: u8,
}

impl BitWriter<'_> {
    fn put(&mut self, value: u32, length: u8) {
        self.pending = self.pending << length | u64::from(value);
        self.count += length;
        while self.count >= 8 {
            self.count -= 8;
            let byte = (self.pending >> self.count) as u8;
            self.file.push(byte);
            if byte == 0xff {
                self.file.push(0);
            }
        }
    }

    /// Fills the last byte with ones.
    fn fill(&mut self) {
        let rest = (8 - self.count) % 8;
        self.put((1 << rest) - 1, rest);
    }
}
