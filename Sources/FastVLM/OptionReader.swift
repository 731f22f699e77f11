/// Reads options that were stored or sent. What is missing, or null, keeps its default; a key that is none of the
/// options is refused: whoever wrote `temprature` would otherwise get other answers without a word.
struct OptionReader<Key: CodingKey & CaseIterable> {
    private let container: KeyedDecodingContainer<Key>

    private struct AnyKey: CodingKey {
        let stringValue: String
        var intValue: Int? { nil }

        init(stringValue: String) { self.stringValue = stringValue }
        init?(intValue: Int) { nil }
    }

    /// - Throws: `DecodingError.dataCorrupted` that names the unknown keys and those that there are.
    init(_ decoder: any Decoder, _: Key.Type) throws {
        container = try decoder.container(keyedBy: Key.self)
        let unknown = try decoder.container(keyedBy: AnyKey.self).allKeys.map(\.stringValue)
            .filter { Key(stringValue: $0) == nil }.sorted()
        guard unknown.isEmpty else {
            throw DecodingError.dataCorrupted(
                DecodingError.Context(
                    codingPath: decoder.codingPath,
                    debugDescription: "unknown: \(unknown.joined(separator: ", ")); the options are "
                        + Key.allCases.map(\.stringValue).joined(separator: ", ")))
        }
    }

    func read<Value: Decodable>(_ key: Key, into value: inout Value) throws {
        if let given = try container.decodeIfPresent(Value.self, forKey: key) { value = given }
    }

    func read<Value: Decodable>(_ key: Key, into value: inout Value?) throws {
        if let given = try container.decodeIfPresent(Value.self, forKey: key) { value = given }
    }
}
