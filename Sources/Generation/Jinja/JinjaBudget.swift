/// What one rendering may still cost. A checkpoint's template is untrusted: whatever takes longer for larger values is
/// charged here, also where a value holds another one many times.
struct JinjaBudget {
    typealias Failure = JinjaTemplate.Failure

    private var steps = 0

    mutating func charge(_ count: Int) throws(Failure) {
        steps += count
        guard steps <= JinjaTemplate.Limits.steps else { throw .unsupported("it takes too many steps") }
    }

    /// Long values cost more than short ones.
    mutating func charge(for value: JinjaValue) throws(Failure) {
        switch value {
        case .string(let text): try charge(1 + text.utf8.count / 16)
        case .list(let values): try charge(1 + values.count / 4)
        case .object(let members): try charge(1 + members.count / 4)
        default: try charge(1)
        }
    }

    /// As Python: by scalars, not by canonical equivalence.
    mutating func areEqual(_ left: String, _ right: String) throws(Failure) -> Bool {
        guard left.utf8.count == right.utf8.count else { return false }
        try charge(left.utf8.count / 16)
        return left.utf8.elementsEqual(right.utf8)
    }

    mutating func areEqual(_ left: JinjaValue, _ right: JinjaValue) throws(Failure) -> Bool {
        try charge(1)
        switch (left, right) {
        case (.undefined, .undefined), (.none, .none): return true
        case (.bool(let left), .bool(let right)): return left == right
        case (.integer(let left), .integer(let right)): return left == right
        case (.bool(let left), .integer(let right)), (.integer(let right), .bool(let left)):
            return (left ? 1 : 0) == right
        case (.string(let left), .string(let right)): return try areEqual(left, right)
        case (.list(let left), .list(let right)):
            guard left.count == right.count else { return false }
            for (left, right) in zip(left, right) where try !areEqual(left, right) { return false }
            return true
        case (.object, .object): throw .unsupported("a comparison of objects")
        case (.namespace(let left), .namespace(let right)): return left == right
        default: return false
        }
    }

    mutating func contains(_ values: [JinjaValue], _ wanted: JinjaValue) throws(Failure) -> Bool {
        for value in values where try areEqual(value, wanted) { return true }
        return false
    }

    /// The member of an object; undefined where there is none.
    mutating func member(_ key: String, of value: JinjaValue) throws(Failure) -> JinjaValue {
        guard case .object(let members) = value else { return .undefined(key) }
        try charge(members.count / 4)
        for (name, value) in members.reversed() where try areEqual(name, key) { return value }
        return .undefined(key)
    }

    /// Values nested without end would overflow the stack of whoever compares or frees them.
    mutating func checkNesting(of value: JinjaValue, depth: Int = 1) throws(Failure) {
        guard depth <= JinjaTemplate.Limits.depth else {
            throw .unsupported("its values are nested too deeply")
        }
        switch value {
        case .list(let values):
            try charge(values.count)
            for value in values { try checkNesting(of: value, depth: depth + 1) }
        case .object(let members):
            try charge(members.count)
            for (_, value) in members { try checkNesting(of: value, depth: depth + 1) }
        default: break
        }
    }

    /// Where `part`, which is not empty, is found in `text`: first bytes in order, without overlap. The time is linear
    /// in both lengths (Knuth, Morris and Pratt).
    mutating func places(of part: [UInt8], in text: [UInt8]) throws(Failure) -> [Int] {
        try charge((part.count + text.count) / 16)
        guard !part.isEmpty, part.count <= text.count else { return [] }
        // The longest proper beginning of `part` that ends at each of its bytes.
        var borders = [0]
        borders.reserveCapacity(part.count)
        var matched = 0
        for byte in part.dropFirst() {
            while matched > 0, part[matched] != byte { matched = borders[matched - 1] }
            if part[matched] == byte { matched += 1 }
            borders.append(matched)
        }
        var places: [Int] = []
        matched = 0
        for (index, byte) in text.enumerated() {
            while matched > 0, part[matched] != byte { matched = borders[matched - 1] }
            if part[matched] == byte { matched += 1 }
            if matched == part.count {
                places.append(index + 1 - part.count)
                matched = 0
            }
        }
        return places
    }

    /// The texts between the places where `separator`, which is not empty, is found.
    mutating func split(_ text: String, at separator: String) throws(Failure) -> [String] {
        let (bytes, part) = (Array(text.utf8), Array(separator.utf8))
        var start = 0
        var result: [String] = []
        for place in try places(of: part, in: bytes) + [bytes.count] {
            result.append(String(decoding: bytes[start..<place], as: UTF8.self))
            start = place + part.count
        }
        return result
    }

    /// `texts` with `separator` between them. The length is bounded before anything is copied.
    static func joined(_ texts: [String], separator: String) throws(Failure) -> String {
        var count = 0
        for text in texts {
            count += text.utf8.count + separator.utf8.count
            guard count - separator.utf8.count <= JinjaTemplate.Limits.output else {
                throw .unsupported("it renders too much text")
            }
        }
        return texts.joined(separator: separator)
    }
}
