internal import StrictJSON

/// Reads values of a configuration file by key, with ranges; says file and key when something is wrong.
///
/// A reader may have a fallback: MLX keeps the decoder's values at the root or under `text_config`.
/// `null` counts as absent.
struct ConfigurationReader: Sendable {
    static let mainFile = "config.json"

    let file: String
    private let path: String
    private let object: JSONObject
    private let fallback: JSONObject?

    init(_ document: JSONValue, file: String) throws(CheckpointError) {
        guard let object = document.object else {
            throw .invalidConfiguration(
                file: file, key: "(root)", expected: "an object", got: document.summary)
        }
        self.init(object, file: file, path: "", fallback: nil)
    }

    private init(_ object: JSONObject, file: String, path: String, fallback: JSONObject?) {
        self.object = object
        self.file = file
        self.path = path
        self.fallback = fallback
    }

    var keys: [String] { keysInOrder.sorted() }
    /// As the file has them.
    var keysInOrder: [String] { object.members.map(\.key) }
    var isEmpty: Bool { object.isEmpty }

    /// The value, from here or from the fallback; nil when absent or null.
    func value(_ key: String) -> JSONValue? {
        if let value = object[key], !value.isNull { return value }
        if let value = fallback?[key], !value.isNull { return value }
        return nil
    }

    /// Whether the key is here, be it null.
    func has(_ key: String) -> Bool { object[key] != nil }

    /// The value here, without the fallback; nil when absent or null.
    func ownValue(_ key: String) -> JSONValue? {
        guard let value = object[key], !value.isNull else { return nil }
        return value
    }

    /// A key with its path in the file.
    func key(_ key: String) -> String { path + key }

    /// Where a key is, for people: "config.json text_config.rope_theta".
    func place(_ key: String) -> String { "\(file) \(path)\(key)" }

    /// A nested object; nil when absent or null.
    func section(
        _ key: String, fallingBackHere: Bool = false
    ) throws(CheckpointError) -> ConfigurationReader? {
        guard let value = value(key) else { return nil }
        guard let nested = value.object else {
            throw invalid(key, expected: "an object", got: value.summary)
        }
        return ConfigurationReader(
            nested, file: file, path: "\(path)\(key).", fallback: fallingBackHere ? object : nil)
    }

    // MARK: Typed values

    func integer(_ key: String, in range: ClosedRange<Int>) throws(CheckpointError) -> Int? {
        guard let value = value(key) else { return nil }
        guard let integer = value.integer, range.contains(integer) else {
            throw invalid(
                key, expected: "a whole number from \(range.lowerBound) to \(range.upperBound)",
                got: value.summary)
        }
        return integer
    }

    func double(_ key: String, in range: ClosedRange<Double>) throws(CheckpointError) -> Double? {
        guard let value = value(key) else { return nil }
        guard let number = value.double, range.contains(number) else {
            throw invalid(
                key, expected: "a number from \(range.lowerBound) to \(range.upperBound)", got: value.summary)
        }
        return number
    }

    func bool(_ key: String) throws(CheckpointError) -> Bool? {
        guard let value = value(key) else { return nil }
        guard let flag = value.bool else { throw invalid(key, expected: "true or false", got: value.summary) }
        return flag
    }

    func string(_ key: String) throws(CheckpointError) -> String? {
        guard let value = value(key) else { return nil }
        guard let text = value.string else { throw invalid(key, expected: "a string", got: value.summary) }
        return text
    }

    func list(_ key: String, limit: Int) throws(CheckpointError) -> [JSONValue]? {
        guard let value = value(key) else { return nil }
        guard let elements = value.elements, elements.count <= limit else {
            throw invalid(key, expected: "a list of at most \(limit)", got: value.summary)
        }
        return elements
    }

    func integers(_ key: String, in range: ClosedRange<Int>, limit: Int) throws(CheckpointError) -> [Int]? {
        guard let elements = try list(key, limit: limit) else { return nil }
        var integers: [Int] = []
        for element in elements {
            guard let integer = element.integer, range.contains(integer) else {
                throw invalid(
                    key, expected: "whole numbers from \(range.lowerBound) to \(range.upperBound)",
                    got: element.summary)
            }
            integers.append(integer)
        }
        return integers
    }

    func doubles(_ key: String, in range: ClosedRange<Double>, limit: Int) throws(CheckpointError)
        -> [Double]?
    {
        guard let elements = try list(key, limit: limit) else { return nil }
        var numbers: [Double] = []
        for element in elements {
            guard let number = element.double, range.contains(number) else {
                throw invalid(
                    key, expected: "numbers from \(range.lowerBound) to \(range.upperBound)",
                    got: element.summary)
            }
            numbers.append(number)
        }
        return numbers
    }

    // MARK: Values that only one choice is supported for

    /// Throws when the value is present and none of the choices.
    func require(_ key: String, isOneOf choices: [String]) throws(CheckpointError) {
        guard let text = try string(key), !choices.contains(text) else { return }
        throw unsupported(key, expected: choices.joined(separator: " or "), got: text)
    }

    /// Throws when the value is present and another one.
    func require(_ key: String, is expected: JSONValue) throws(CheckpointError) {
        guard let value = value(key), value != expected else { return }
        if let number = value.double, number == expected.double { return }
        throw unsupported(key, expected: expected.summary, got: value.summary)
    }

    // MARK: Errors

    func invalid(_ key: String, expected: String, got: String) -> CheckpointError {
        .invalidConfiguration(file: file, key: path + key, expected: expected, got: got)
    }

    func unsupported(_ key: String, expected: String, got: String) -> CheckpointError {
        .unsupportedConfiguration(file: file, key: path + key, expected: expected, got: got)
    }

    func contradiction(_ key: String, configuration: String, tensors: String) -> CheckpointError {
        .configurationContradictsTensors(
            file: file, key: path + key, configuration: configuration, tensors: tensors)
    }
}
