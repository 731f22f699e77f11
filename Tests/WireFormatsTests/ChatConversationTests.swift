import Foundation
import Testing

@testable import WireFormats

@Suite("Messages as clients send them")
struct ChatConversationTests {
    private typealias Part = ChatMessage.Part

    private let one = ImageReference.data(Data([1]))
    private let two = ImageReference.data(Data([2]))

    @Test("Consecutive messages of one role are one turn")
    func merging() throws {
        let (turns, remarks) = try ChatConversation.turns([
            ChatMessage(.system, [.text("Be brief.")]), ChatMessage(.system, [.text("Be kind.")]),
            ChatMessage(.user, [.text("Look at this.")]),
            ChatMessage(.user, [.image(one), .text("What is it?")]),
            ChatMessage(.assistant, [.text("A")]), ChatMessage(.assistant, [.text("banana.")]),
            ChatMessage(.user, [.text("Sure?")]),
        ])
        #expect(
            turns == [
                ChatMessage(.system, [.text("Be brief.\n\nBe kind.")]),
                ChatMessage(.user, [.text("Look at this.\n"), .image(one), .text("\nWhat is it?")]),
                ChatMessage(.assistant, [.text("A\nbanana.")]), ChatMessage(.user, [.text("Sure?")]),
            ])
        #expect(remarks.isEmpty)
    }

    @Test("Images go before text that stands together, and stay among text that does not")
    func order() {
        let question = Part.text("What is this?")
        #expect(
            ChatConversation.arranged([question, .image(one)]) == [.image(one), .text("\nWhat is this?")])
        #expect(
            ChatConversation.arranged([.image(one), question]) == [.image(one), .text("\nWhat is this?")])
        #expect(
            ChatConversation.arranged([.image(one), .image(two), .text("A"), .text("B")])
                == [.image(one), .image(two), .text("\nA\nB")])
        #expect(
            ChatConversation.arranged([.text("Image 1:"), .image(one), .text("Image 2:"), .image(two)])
                == [.text("Image 1:\n"), .image(one), .text("\nImage 2:\n"), .image(two)])
        #expect(ChatConversation.arranged([.text(""), question]) == [question])
    }

    @Test("Images of others' turns go to the user's next one, and a late system message is put first")
    func moving() throws {
        let (turns, remarks) = try ChatConversation.turns([
            ChatMessage(.system, [.image(one), .text("S")]), ChatMessage(.user, [.text("A")]),
            ChatMessage(.assistant, [.image(two), .text("B")]), ChatMessage(.user, [.text("C")]),
            ChatMessage(.system, [.text("T")]),
        ])
        #expect(
            turns == [
                ChatMessage(.system, [.text("S\n\nT")]), ChatMessage(.user, [.image(one), .text("\nA")]),
                ChatMessage(.assistant, [.text("B")]), ChatMessage(.user, [.image(two), .text("\nC")]),
            ])
        #expect(remarks.count == 3)
    }

    @Test("A conversation must end with a question")
    func endings() {
        for messages in [
            [ChatMessage(.system, [.text("S")])],
            [ChatMessage(.user, [.text("A")]), ChatMessage(.assistant, [.text("B")])],
            [ChatMessage(.user, [.text("")])], [],
        ] {
            #expect(throws: RequestError.self) { try ChatConversation.turns(messages) }
        }
    }
}
