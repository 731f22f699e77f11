internal import Foundation
internal import Tensors

/// What the kernels found on this machine.
///
/// ```swift
/// let system = try SystemInformation()
/// print(system.processor, system.instructionSet, system.threads)
/// ```
public struct SystemInformation: Sendable, Hashable, Codable {
    /// Processor and the features that matter here.
    public let processor: String
    /// The instruction set that will be used; `FASTVLM_ISA` overrides the choice.
    public let instructionSet: String
    /// All that this processor can run, slowest first.
    public let availableInstructionSets: [String]
    public let threads: Int
    /// Bytes of physical memory.
    public let physicalMemory: UInt64

    /// - Parameter threads: as in ``LoadOptions/threads``.
    /// - Throws: `FastVLMError` of kind `system` when `FASTVLM_ISA` names what is not there, of kind `request` when
    ///   the number of threads is out of range.
    public init(threads: Int? = nil) throws {
        do {
            try LoadOptions.check(threads: threads)
            let compute = try Compute(threads: threads)
            processor = Compute.processorDescription()
            instructionSet = compute.instructionSet.rawValue
            availableInstructionSets = InstructionSet.available.map(\.rawValue)
            self.threads = compute.threads
            physicalMemory = ProcessInfo.processInfo.physicalMemory
        } catch {
            throw FastVLMError.translating(error)
        }
    }
}
