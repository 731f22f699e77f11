internal import StrictJSON

/// Numbers, of any size or between bounds.
extension SchemaCompiler {
    mutating func number(
        _ schema: JSONObject, _ place: String, isInteger: Bool, then next: Int
    ) throws(StructuredOutputError) -> Int {
        let lower = try bound("minimum", "exclusiveMinimum", of: schema, place, isLower: true)
        let upper = try bound("maximum", "exclusiveMaximum", of: schema, place, isLower: false)
        guard lower != nil || upper != nil else {
            return try builder.call(isInteger ? freeInteger() : freeNumber(), then: next)
        }
        var range = DecimalRange(fractionDigits: isInteger ? 0 : DecimalRange.mostDigits)
        guard let start = try range.add(from: lower, through: upper, to: &builder, then: next) else {
            throw .schema(
                place: place, reason: "no \(isInteger ? "integer" : "number") is between the bounds")
        }
        return start
    }

    /// The stronger of two bounds.
    private func bound(
        _ inclusive: String, _ exclusive: String, of schema: JSONObject, _ place: String, isLower: Bool
    ) throws(StructuredOutputError) -> DecimalRange.Bound? {
        var result: (bound: DecimalRange.Bound, value: Double)?
        for (name, isExclusive) in [(inclusive, false), (exclusive, true)] {
            guard let value = schema[name] else { continue }
            guard let number = value.double else {
                throw .schema(place: place, reason: "\(name) must be a number, got \(value.summary)")
            }
            guard let decimal = DecimalRange.Bound(value.text, isExclusive: isExclusive) else {
                throw .schema(
                    place: place,
                    reason: "\(name) has too many digits, \(value.summary); "
                        + "\(DecimalRange.mostDigits) before and behind the point are supported")
            }
            let isStronger = result.map { isLower ? number >= $0.value : number <= $0.value } ?? true
            if isStronger { result = (decimal, number) }
        }
        return result?.bound
    }

    /// Integers of up to 18 digits, which 64 bits hold.
    mutating func freeInteger() throws(StructuredOutputError) -> Int {
        if let rule = shared.integer { return rule }
        let rule = try numberRule("0|-?[1-9][0-9]{0,17}")
        shared.integer = rule
        return rule
    }

    /// Numbers that a double holds.
    mutating func freeNumber() throws(StructuredOutputError) -> Int {
        if let rule = shared.number { return rule }
        let rule = try numberRule("-?(0|[1-9][0-9]{0,17})(\\.[0-9]{1,18})?([eE][+-]?[0-9]{1,2})?")
        shared.number = rule
        return rule
    }

    private mutating func numberRule(_ pattern: String) throws(StructuredOutputError) -> Int {
        let rule = try builder.reserveRule()
        let automaton = try ByteAutomaton(RegularExpression(parsing: pattern, matchesWhole: true), .utf8)
        builder.set(rule: rule, start: try automaton.add(to: &builder, then: builder.end))
        return rule
    }
}

/// Decimal numbers between two bounds, written without exponents.
struct DecimalRange {
    /// Before the point, and behind it.
    static let mostDigits = 15

    struct Bound {
        var isNegative: Bool
        /// Without zeros at the beginning, but for 0 itself.
        var whole: Int
        /// Without zeros at the end.
        var fraction: [UInt8]
        var isExclusive: Bool

        static let zero = Bound(isNegative: false, whole: 0, fraction: [], isExclusive: false)
        static let largest = Bound(
            isNegative: false, whole: 999_999_999_999_999, fraction: [], isExclusive: false)

        var isZero: Bool { whole == 0 && fraction.isEmpty }
    }

    private let fractionDigits: Int
    private var known: [Place: Int] = [:]

    private struct Place: Hashable {
        var digits: Int
        var followsLower: Bool
        var followsUpper: Bool
    }

    init(fractionDigits: Int) { self.fractionDigits = fractionDigits }

    /// - Returns: the node where such numbers begin; nil where there are none.
    mutating func add(
        from lower: Bound?, through upper: Bound?, to builder: inout GrammarBuilder, then next: Int
    ) throws(StructuredOutputError) -> Int? {
        var places: [Int] = []
        if upper.map({ !$0.isNegative }) ?? true {
            let least = lower.flatMap { $0.isNegative ? nil : $0 } ?? .zero
            if let place = try magnitudes(least, upper ?? .largest, &builder, next) { places.append(place) }
        }
        if lower.map({ $0.isNegative }) ?? true {
            // Without a minus before 0.
            var least = upper.flatMap { $0.isNegative ? $0 : nil } ?? .zero
            if least.isZero { least.isExclusive = true }
            if let place = try magnitudes(least, lower ?? .largest, &builder, next) {
                places.append(try builder.text("-", then: place))
            }
        }
        return try places.isEmpty ? nil : builder.split(places)
    }

    /// Numbers without a sign.
    private mutating func magnitudes(
        _ low: Bound, _ high: Bound, _ builder: inout GrammarBuilder, _ next: Int
    ) throws(StructuredOutputError) -> Int? {
        if fractionDigits == 0 {
            let first = low.whole + (!low.fraction.isEmpty || low.isExclusive ? 1 : 0)
            let last = high.whole - (high.fraction.isEmpty && high.isExclusive ? 1 : 0)
            return try first <= last ? wholes(first...last, &builder, next) : nil
        }
        var places: [Int] = []
        func add(_ whole: Int, followsLower: Bool, followsUpper: Bool) throws(StructuredOutputError) {
            known = [:]
            let fraction = try fraction(
                0, followsLower ? low : nil, followsUpper ? high : nil, &builder, next)
            guard let fraction else { return }
            places.append(try builder.text(String(whole), then: fraction))
        }
        if low.whole == high.whole {
            try add(low.whole, followsLower: true, followsUpper: true)
        } else if low.whole < high.whole {
            try add(low.whole, followsLower: true, followsUpper: false)
            try add(high.whole, followsLower: false, followsUpper: true)
            if high.whole - low.whole > 1 {
                known = [:]
                if let fraction = try fraction(0, nil, nil, &builder, next) {
                    places.append(try wholes(low.whole + 1...high.whole - 1, &builder, fraction))
                }
            }
        }
        return try places.isEmpty ? nil : builder.split(places)
    }

    // MARK: - Whole numbers

    private func wholes(
        _ range: ClosedRange<Int>, _ builder: inout GrammarBuilder, _ next: Int
    ) throws(StructuredOutputError) -> Int {
        var places: [Int] = []
        var (first, power) = (0, 10)
        // One length after the other.
        while first <= range.upperBound {
            let part =
                max(first, range.lowerBound)...max(first, range.lowerBound, min(power - 1, range.upperBound))
            if part.lowerBound < power, part.lowerBound <= range.upperBound {
                places.append(
                    try sameLength(digits(part.lowerBound), digits(part.upperBound), &builder, next))
            }
            first = power
            power *= 10
        }
        return try builder.split(places)
    }

    private func digits(_ number: Int) -> ArraySlice<UInt8> { String(number).utf8.map { $0 - 0x30 }[...] }

    private func sameLength(
        _ low: ArraySlice<UInt8>, _ high: ArraySlice<UInt8>, _ builder: inout GrammarBuilder, _ next: Int
    ) throws(StructuredOutputError) -> Int {
        guard let first = low.first, let last = high.first else { return next }
        let (lowRest, highRest) = (low.dropFirst(), high.dropFirst())
        if first == last {
            return try digit(first...last, &builder, sameLength(lowRest, highRest, &builder, next))
        }
        let nines = ArraySlice(repeating: UInt8(9), count: lowRest.count)
        let zeros = ArraySlice(repeating: UInt8(0), count: lowRest.count)
        if lowRest.allSatisfy({ $0 == 0 }), highRest.allSatisfy({ $0 == 9 }) {
            var place = next
            for _ in lowRest { place = try digit(0...9, &builder, place) }
            return try digit(first...last, &builder, place)
        }
        var places = [
            try digit(first...first, &builder, sameLength(lowRest, nines, &builder, next)),
            try digit(last...last, &builder, sameLength(zeros, highRest, &builder, next)),
        ]
        if last - first > 1 {
            places.append(
                try digit(first + 1...last - 1, &builder, sameLength(zeros, nines, &builder, next)))
        }
        return try builder.split(places)
    }

    private func digit(
        _ range: ClosedRange<UInt8>, _ builder: inout GrammarBuilder, _ next: Int
    ) throws(StructuredOutputError) -> Int {
        try builder.byte(0x30 + range.lowerBound...0x30 + range.upperBound, then: next)
    }

    // MARK: - Fractions

    /// What may follow behind `count` digits of the fraction.
    /// - Parameters:
    ///   - low, high: the bound whose digits were followed so far; nil where the number is clear of it
    /// - Returns: nil where nothing can follow, not even the end.
    private mutating func fraction(
        _ count: Int, _ low: Bound?, _ high: Bound?, _ builder: inout GrammarBuilder, _ next: Int
    ) throws(StructuredOutputError) -> Int? {
        let place = Place(digits: count, followsLower: low != nil, followsUpper: high != nil)
        if let node = known[place] { return node }
        let isAbove = low.map { count >= $0.fraction.count && !$0.isExclusive } ?? true
        let isBelow = high.map { count < $0.fraction.count || !$0.isExclusive } ?? true
        var places = isAbove && isBelow ? [next] : []
        if count < fractionDigits {
            let first = low.map { count < $0.fraction.count ? $0.fraction[count] : 0 } ?? 0
            let last = high.map { count < $0.fraction.count ? $0.fraction[count] : 0 } ?? 9
            var digits: [Int] = []
            for value in first...max(first, last) where value <= last {
                // Between the two bounds all digits lead to the same place.
                let behind = try fraction(
                    count + 1, value == first ? low : nil, value == last ? high : nil, &builder, next)
                if let behind { digits.append(try digit(value...value, &builder, behind)) }
            }
            if !digits.isEmpty {
                let all = try builder.split(digits)
                places.append(try count == 0 ? builder.text(".", then: all) : all)
            }
        }
        guard !places.isEmpty else { return nil }
        let node = try builder.split(places)
        known[place] = node
        return node
    }
}

extension DecimalRange.Bound {
    /// A JSON number, perhaps with an exponent; nil where it has more digits than are supported.
    init?(_ text: String, isExclusive: Bool) {
        var rest = Substring(text)
        isNegative = rest.hasPrefix("-")
        if isNegative { rest = rest.dropFirst() }
        let parts = rest.split(whereSeparator: { $0 == "e" || $0 == "E" })
        guard let mantissa = parts.first, let exponent = parts.count > 1 ? Int(parts[1]) : 0,
            abs(exponent) < 64
        else { return nil }
        let halves = mantissa.split(separator: ".")
        var digits = Array((halves.first ?? "").utf8).map { $0 &- 0x30 }
        let fractionCount = halves.count > 1 ? halves[1].utf8.count : 0
        if halves.count > 1 { digits += halves[1].utf8.map { $0 &- 0x30 } }
        // How many of the digits stand before the point.
        var point = digits.count - fractionCount + exponent
        if point < 0 {
            digits = Array(repeating: 0, count: -point) + digits
            point = 0
        }
        if point > digits.count { digits += Array(repeating: 0, count: point - digits.count) }
        var fraction = Array(digits[point...])
        while fraction.last == 0 { fraction.removeLast() }
        let before = digits[..<point].drop { $0 == 0 }
        guard before.count <= DecimalRange.mostDigits, fraction.count <= DecimalRange.mostDigits else {
            return nil
        }
        whole = before.reduce(0) { 10 * $0 + Int($1) }
        self.fraction = fraction
        self.isExclusive = isExclusive
        if isZero { isNegative = false }
    }
}
