/// What the boxes of a HEIC or AVIF file say about pictures put together from others.
///
/// A grid or an overlay names the size of its canvas in its own data, which need not be the size that its
/// properties promise and the limits are checked against. libheif allocates what the data say, so they are
/// checked here first. Everything else about the boxes is libheif's business: what cannot be followed here is
/// left to it.
struct HEIFStructure {
    /// Most boxes beside each other; libheif reads twenty thousand in a box, and writers some hundreds.
    private static let mostBoxes = 20_000
    /// As in libheif. Writers use one.
    private static let mostExtents = 32

    private let bytes: ByteView
    /// Where the data of each derived item begin: absolute offset and length of its parts.
    private var items: [Int: [Range<Int>]] = [:]
    private var derived: [Int: String] = [:]
    private var primary: Int?
    private var embedded: Range<Int>?
    /// Why libheif might read the boxes in another way than they are read here.
    private var problem: String?

    /// The sizes of all canvases in the file.
    private(set) var canvases: [(width: Int, height: Int)] = []
    /// Least size of the tiles of a grid that is the picture itself, so that they cover it: libheif does not look.
    private(set) var leastTile: (width: Int, height: Int) = (0, 0)

    init(_ bytes: ByteView) {
        self.bytes = bytes
        let metas = boxes(in: 0..<bytes.count).filter { $0.kind == "meta" }
        if metas.count > 1 { problem = "it has several meta boxes" }
        guard let meta = metas.first else { return }
        let inside = boxes(in: full(meta))
        for kind in ["iinf", "iloc", "idat", "pitm"] where inside.count(where: { $0.kind == kind }) > 1 {
            problem = "it has several \(kind) boxes"
        }
        for part in inside where part.kind == "iinf" { readKinds(part) }
        embedded = inside.first { $0.kind == "idat" }?.content
        for part in inside where part.kind == "pitm" { primary = primaryItem(part) }
        for part in inside where part.kind == "iloc" { readPlaces(part) }
        for (item, kind) in derived { readCanvas(item, kind) }
    }

    /// - Throws: `ImageInputError` for a canvas beyond the limits, and for boxes that could be understood in two ways.
    func check(_ limits: ImageLimits, format: ImageFormat) throws(ImageInputError) {
        if let problem { throw .overLimit(format: format, detail: problem) }
        for canvas in canvases {
            try limits.check(width: canvas.width, height: canvas.height, format: format)
            // Three planes, and the interleaved copy of them.
            let bytes = canvas.width.saturatingProduct(canvas.height).saturatingProduct(8)
            try limits.checkMemory(bytes, width: canvas.width, height: canvas.height, format: format)
        }
    }

    // MARK: - Boxes

    private struct Box {
        let kind: String
        let content: Range<Int>
    }

    /// The boxes of a part of the file, up to the first that does not fit.
    private mutating func boxes(in range: Range<Int>) -> [Box] {
        var found: [Box] = []
        var at = range.lowerBound
        while at < range.upperBound, let short = number(4, at: at),
            let kind = bytes.part(at: at + 4, length: 4)
        {
            let long = short == 1 ? number(8, at: at + 8) : nil
            let length = short == 0 ? range.upperBound - at : long ?? short
            let header = short == 1 ? 16 : 8
            guard length >= header, length <= range.upperBound - at else { break }
            guard found.count < Self.mostBoxes else {
                problem = "it has more than \(Self.mostBoxes) boxes beside each other"
                break
            }
            found.append(
                Box(kind: String(decoding: kind.raw, as: UTF8.self), content: at + header..<at + length))
            at += length
        }
        return found
    }

    /// The content behind version and flags.
    private func full(_ box: Box) -> Range<Int> {
        min(box.content.lowerBound + 4, box.content.upperBound)..<box.content.upperBound
    }

    private func number(_ length: Int, at offset: Int) -> Int? {
        guard let part = bytes.part(at: offset, length: length) else { return nil }
        let value = part.raw.reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        return Int(exactly: value)
    }

    // MARK: - Items

    private func primaryItem(_ box: Box) -> Int? {
        guard let version = bytes.byte(at: box.content.lowerBound) else { return nil }
        return number(version == 0 ? 2 : 4, at: box.content.lowerBound + 4)
    }

    private mutating func readKinds(_ box: Box) {
        guard let version = bytes.byte(at: box.content.lowerBound) else { return }
        let start = box.content.lowerBound + 4 + (version == 0 ? 2 : 4)
        guard start <= box.content.upperBound else { return }
        for entry in boxes(in: start..<box.content.upperBound) where entry.kind == "infe" {
            guard let version = bytes.byte(at: entry.content.lowerBound), version >= 2 else { continue }
            let width = version == 2 ? 2 : 4
            let at = entry.content.lowerBound + 4
            guard let item = number(width, at: at), let kind = bytes.part(at: at + width + 2, length: 4)
            else {
                continue
            }
            let name = String(decoding: kind.raw, as: UTF8.self)
            if name == "grid" || name == "iovl" { derived[item] = name }
        }
    }

    /// Numbers of an `iloc` box one after the other; nil past the end.
    private struct Cursor {
        var at: Int
        let end: Int
    }

    private func next(_ length: Int, _ cursor: inout Cursor) -> Int? {
        guard length > 0 else { return 0 }
        guard length <= cursor.end - cursor.at, let value = number(length, at: cursor.at) else { return nil }
        cursor.at += length
        return value
    }

    private mutating func readPlaces(_ box: Box) {
        guard let version = bytes.byte(at: box.content.lowerBound) else { return }
        var cursor = Cursor(at: box.content.lowerBound + 4, end: box.content.upperBound)
        guard let sizes = next(2, &cursor), let count = next(version < 2 ? 2 : 4, &cursor) else { return }
        let (offsetSize, lengthSize, baseSize) = (sizes >> 12, sizes >> 8 & 15, sizes >> 4 & 15)
        let indexSize = version == 0 ? 0 : sizes & 15
        // Places without numbers take no room, so there could be billions of them.
        guard indexSize + offsetSize + lengthSize > 0 else { return }
        guard [offsetSize, lengthSize, baseSize, indexSize].allSatisfy({ [0, 4, 8].contains($0) }) else {
            problem = "its places of data have numbers of an odd size"
            return
        }
        for _ in 0..<count {
            guard let item = next(version < 2 ? 2 : 4, &cursor),
                let method = next(version == 0 ? 0 : 2, &cursor), next(2, &cursor) != nil,
                let base = next(baseSize, &cursor), let extents = next(2, &cursor)
            else { return }
            if derived[item] != nil, items[item] != nil || extents > Self.mostExtents {
                problem = "it has several places for the data of one picture"
                return
            }
            for _ in 0..<extents {
                guard next(indexSize, &cursor) != nil, let offset = next(offsetSize, &cursor),
                    let length = next(lengthSize, &cursor)
                else { return }
                guard derived[item] != nil else { continue }
                let origin = method & 15 == 1 ? embedded?.lowerBound ?? 0 : 0
                let start = origin.saturatingSum(base).saturatingSum(offset)
                // Some writers leave the length of the only extent out.
                let end = length == 0 ? bytes.count : start.saturatingSum(length)
                guard start <= end, end <= bytes.count else { continue }
                items[item, default: []].append(start..<end)
            }
        }
    }

    /// The size stands behind version, flags and rows and columns of a grid, or the colour of an overlay.
    private mutating func readCanvas(_ item: Int, _ kind: String) {
        var data: [UInt8] = []
        for part in items[item] ?? [] where data.count < 32 {
            guard let bytes = bytes.part(at: part.lowerBound, length: min(part.count, 32)) else { break }
            data += bytes.raw
        }
        let canvas: (width: Int, height: Int)? = data.withUnsafeBytes { raw in
            let view = ByteView(raw)
            guard let flags = view.byte(at: 1) else { return nil }
            let at = kind == "grid" ? 4 : 10
            func side(_ offset: Int) -> Int? {
                flags & 1 == 0
                    ? view.integer(UInt16.self, at: at + 2 * offset, bigEndian: true).map(Int.init)
                    : view.integer(UInt32.self, at: at + 4 * offset, bigEndian: true).map(Int.init)
            }
            guard let width = side(0), let height = side(1) else { return nil }
            return (width, height)
        }
        guard let canvas else { return }
        canvases.append(canvas)
        if item == primary, kind == "grid" {
            let (rows, columns) = (Int(data[2]) + 1, Int(data[3]) + 1)
            leastTile = ((canvas.width - 1) / columns + 1, (canvas.height - 1) / rows + 1)
        }
    }
}
