import FastVLM
import Foundation
import Testing

@Suite("Options can be stored and sent")
struct OptionCodingTests {
    private func decoded<Value: Decodable>(_ json: String) throws -> Value {
        try JSONDecoder().decode(Value.self, from: Data(json.utf8))
    }

    @Test(
        "Options of a request come back as they went; missing ones have their defaults, and null counts as missing"
    )
    func generation() throws {
        var options = GenerationOptions()
        #expect(try decoded("{}") == options)
        #expect(try decoded(#"{"topK": null, "seed": null}"#) == options)
        options.temperature = 0.25
        options.topK = 3
        options.topP = 0.5
        options.minP = 0.125
        options.repetitionPenalty = 1.5
        options.frequencyPenalty = -1.25
        options.presencePenalty = 0.75
        options.logitBias = [7: -100, 0: 2.5]
        options.seed = .max
        options.maximumTokens = 7
        options.format = .choice(["a", "b"])
        options.stop = ["\n", "."]
        options.stopIDs = [3, 1]
        options.timeLimit = .milliseconds(1500)
        options.priority = -2
        options.logProbabilities = 4
        options.system = "Be brief."
        options.placesImages = true
        options.imageSize = 448
        options.requestID = "abc"
        let data = try JSONEncoder().encode(options)
        #expect(try JSONDecoder().decode(GenerationOptions.self, from: data) == options)
        #expect(String(decoding: data, as: UTF8.self).contains("\"timeLimit\":1.5"))
        // As in OpenAI's requests.
        #expect(String(decoding: data, as: UTF8.self).contains("\"7\":-100"))
        // As many keys as there are properties: a new one must be coded too.
        let keys = try #require(JSONSerialization.jsonObject(with: data) as? [String: Any]).keys
        #expect(Set(keys) == Set(Mirror(reflecting: options).children.compactMap(\.label)))
    }

    @Test("A key that is no option is refused by its name, and a value of the wrong type")
    func unknownKeys() throws {
        func failure<Value: Decodable>(_: Value.Type, _ json: String) -> String? {
            do {
                _ = try decoded(json) as Value
                return nil
            } catch { return "\(error)" }
        }
        for json in [#"{"temprature": 1}"#, #"{"temperature": 1, "temprature": 0}"#] {
            let text = failure(GenerationOptions.self, json)
            #expect(text?.contains("temprature") == true && text?.contains("repetitionPenalty") == true)
        }
        #expect(failure(GenerationOptions.self, #"{"topK": "many"}"#) != nil)
        #expect(failure(LoadOptions.self, #"{"progress": 1}"#)?.contains("progress") == true)
        #expect(failure(LoadOptions.self, #"{"precision": "int3"}"#) != nil)
        for wrong in ["merge", "merge:0", "merge:-1", "most:4", "merge:4:4"] {
            let text = failure(LoadOptions.self, #"{"tokenReduction": "\#(wrong)"}"#)
            #expect(text?.contains(wrong) == true)
        }
        #expect(failure(LoadOptions.self, #"{"background": "mauve"}"#)?.contains("mauve") == true)
    }

    @Test("Options of loading come back as they went, but for what is no data")
    func loading() throws {
        let json = """
            {"precision": "int8", "threads": 3, "imageSize": 512, "geometry": "crop", "adapters": ["file:///a"],
             "tiles": "2x3", "tokenReduction": "merge:36",
             "template": "plain", "contextLength": 99, "appliesOrientation": false, "background": "#1e90ff",
             "usesReferenceDepth": true, "allowsTruncatedImages": true, "ignoresColorProfiles": true,
             "maximumPixels": 1, "maximumSide": 2, "maximumFileBytes": 3, "maximumImageBytes": 4,
             "imageFormats": ["jpeg"], "rememberedImages": 5, "rememberedImageBytes": 6, "keyValueBytes": 7,
             "maximumRunning": 8, "prefersThroughput": true, "maximumWaiting": 9, "requestBytes": 10}
            """
        let options: LoadOptions = try decoded(json)
        #expect(options.precision == .int8 && options.geometry == .crop && options.imageFormats == [.jpeg])
        #expect(options.background == .color(red: 0x1E, green: 0x90, blue: 0xFF))
        let encoded = try JSONEncoder().encode(options)
        let again = try JSONEncoder().encode(JSONDecoder().decode(LoadOptions.self, from: encoded))
        let objects = try [encoded, again, Data(json.utf8)].map {
            try #require(JSONSerialization.jsonObject(with: $0) as? NSDictionary)
        }
        #expect(objects[0] == objects[1] && objects[0] == objects[2])
        let properties = Set(Mirror(reflecting: options).children.compactMap(\.label))
        #expect(
            properties.subtracting(objects[0].allKeys.compactMap { $0 as? String })
                == ["logger", "metrics", "progress", "expectedImages"])
        let defaults: LoadOptions = try decoded("{}")
        #expect(defaults.imageFormats == LoadOptions.ImageFormat.web && defaults.precision == nil)
    }

    @Test("Backgrounds are written as they are read")
    func backgrounds() throws {
        for text in ["white", "black", "drop", "#0a0b0c"] {
            let background = try #require(ImageBackground(text))
            #expect("\(background)" == text)
            let data = try JSONEncoder().encode([background])
            #expect(try JSONDecoder().decode([ImageBackground].self, from: data) == [background])
        }
    }
}
