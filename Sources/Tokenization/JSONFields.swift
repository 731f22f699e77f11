import StrictJSON

/// The members of one JSON object with its place in the file, so that every wrong value is reported by name.
struct JSONFields {
    let file: String
    /// Dotted path of the object, empty for the document itself.
    let path: String
    let object: JSONObject

    init(_ value: JSONValue, file: String, path: String) throws(TokenizationError) {
        guard case .object(let object) = value else {
            throw .wrongValue(
                file: file, key: path.isEmpty ? "the document" : path, expected: "an object",
                got: value.summary)
        }
        self.file = file
        self.path = path
        self.object = object
    }

    func place(_ key: String) -> String { path.isEmpty ? key : "\(path).\(key)" }

    func wrong(_ key: String, expected: String, got: String) -> TokenizationError {
        .wrongValue(file: file, key: place(key), expected: expected, got: got)
    }

    func unsupported(_ key: String, got: String, supported: String) -> TokenizationError {
        .unsupported(file: file, key: place(key), got: got, supported: supported)
    }

    /// The member `key`; nil when missing or null.
    func value(_ key: String) -> JSONValue? {
        guard let value = object[key], !value.isNull else { return nil }
        return value
    }

    func object(_ key: String) throws(TokenizationError) -> JSONFields? {
        guard let value = value(key) else { return nil }
        return try JSONFields(value, file: file, path: place(key))
    }

    func array(_ key: String) throws(TokenizationError) -> [JSONValue]? {
        guard let value = value(key) else { return nil }
        guard case .array(let values) = value else {
            throw wrong(key, expected: "an array", got: value.summary)
        }
        return values
    }

    /// The elements of the array `key` as objects.
    func objects(_ key: String) throws(TokenizationError) -> [JSONFields]? {
        guard let values = try array(key) else { return nil }
        var result: [JSONFields] = []
        for (index, value) in values.enumerated() {
            result.append(try JSONFields(value, file: file, path: "\(place(key))[\(index)]"))
        }
        return result
    }

    func string(_ key: String) throws(TokenizationError) -> String? {
        guard let value = value(key) else { return nil }
        guard case .string(let text) = value else {
            throw wrong(key, expected: "a string", got: value.summary)
        }
        return text
    }

    func requiredString(_ key: String) throws(TokenizationError) -> String {
        guard let text = try string(key) else { throw wrong(key, expected: "a string", got: "nothing") }
        return text
    }

    func bool(_ key: String, default fallback: Bool) throws(TokenizationError) -> Bool {
        guard let value = value(key) else { return fallback }
        guard case .bool(let flag) = value else {
            throw wrong(key, expected: "true or false", got: value.summary)
        }
        return flag
    }

    func integer(_ key: String) throws(TokenizationError) -> Int? {
        guard let value = value(key) else { return nil }
        guard case .integer(let number) = value else {
            throw wrong(key, expected: "an integer", got: value.summary)
        }
        return number
    }

    /// A token id within `TokenizerLimits.ids`.
    static func tokenID(_ value: JSONValue, file: String, token: String) throws(TokenizationError) -> Int {
        guard case .integer(let id) = value, id >= 0 else {
            throw .wrongValue(
                file: file, key: "the id of \(quoted(token))", expected: "an integer of at least 0",
                got: value.summary)
        }
        guard id < TokenizerLimits.ids else {
            throw .overLimit(
                file: file, what: "the id of \(quoted(token))", limit: TokenizerLimits.ids - 1, got: "\(id)")
        }
        return id
    }
}
