internal import FastVLM
internal import FoundationEssentials

/// What fastvlm_load is asked for.
struct LoadRequest: Decodable {
    private enum CodingKeys: String, CodingKey, CaseIterable { case model, visionTower, options }

    private let model: String
    private let visionTower: String?
    let options: LoadOptions

    init(from decoder: any Decoder) throws {
        try refuseUnknownKeys(decoder, CodingKeys.self)
        let container = try decoder.container(keyedBy: CodingKeys.self)
        model = try container.decode(String.self, forKey: .model)
        visionTower = try container.decodeIfPresent(String.self, forKey: .visionTower)
        options = try container.decodeIfPresent(LoadOptions.self, forKey: .options) ?? LoadOptions()
    }

    var source: ModelSource {
        .directory(URL(filePath: model), visionTower: visionTower.map { URL(filePath: $0) })
    }
}
