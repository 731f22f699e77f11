internal import StrictJSON

/// The decoder's rotary positions, which configurations of different years keep in three places.
///
/// Transformers 5 takes `rope_scaling` where it is there and not empty, else `rope_parameters`; what the chosen object
/// lacks comes from the flat keys.
struct RotarySettings {
    private let text: ConfigurationReader
    /// The object that counts.
    private let section: ConfigurationReader?
    /// The one that is passed over.
    private let other: ConfigurationReader?

    init(_ text: ConfigurationReader) throws(CheckpointError) {
        self.text = text
        let scaling = try text.section("rope_scaling")
        let parameters = try text.section("rope_parameters")
        if let scaling, !scaling.isEmpty {
            (section, other) = (scaling, parameters)
        } else {
            (section, other) = (parameters, nil)
        }
    }

    /// Values that would need other positions than the plain ones.
    func refuseUnsupported() throws(CheckpointError) {
        guard let section else { return }
        // The newer name wins.
        try section.require(section.ownValue("rope_type") == nil ? "type" : "rope_type", isOneOf: ["default"])
        try section.require("partial_rotary_factor", is: .integer(1))
        for name in section.keys
        where !["rope_type", "type", "rope_theta", "partial_rotary_factor"].contains(name)
            && section.ownValue(name) != nil
        {
            throw section.unsupported(name, expected: "plain rotary positions", got: "\(name)")
        }
    }

    /// The base of the frequencies; nil where no place gives it.
    func theta(remarks: inout [CheckpointRemark]) throws(CheckpointError) -> Double? {
        let key = "rope_theta"
        let places = [section, text].compactMap { $0 }.filter { $0.value(key) != nil }
        guard let first = places.first, let used = try first.double(key, in: 1...1e12) else {
            if let other, let unused = other.value(key) {
                remarks.append(
                    .changesAnswers(
                        "\(other.place(key)) \(unused.summary) is not used, because rope_scaling wins over "
                            + "rope_parameters, as in transformers"))
            }
            return nil
        }
        for place in places.dropFirst() + [other].compactMap({ $0 }) {
            guard let value = place.value(key), value.double != used else { continue }
            remarks.append(.disagreement(first, place, key, used: "\(used)", unused: value.summary))
        }
        return used
    }
}

extension CheckpointRemark {
    /// Two places that say different things, of which transformers takes the first.
    static func disagreement(
        _ first: ConfigurationReader, _ second: ConfigurationReader, _ key: String, used: String,
        unused: String
    ) -> CheckpointRemark {
        .changesAnswers(
            "\(first.place(key)) is \(used) and \(second.place(key)) is \(unused); \(used) is used, as in "
                + "transformers")
    }
}
