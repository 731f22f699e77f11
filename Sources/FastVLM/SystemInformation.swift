internal import Tensors

#if canImport(FoundationEssentials)
    internal import FoundationEssentials
#else
    internal import Foundation
#endif

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
    /// Processors of the system that this process may run on; a core with two threads is two.
    public let logicalProcessors: Int
    /// Cores that these belong to, as the system reports them.
    public let physicalCores: Int
    /// Processors' worth of time that the container may use; nil without a limit.
    public let processorQuota: Double?
    /// Why ``threads`` is what it is where nobody chose: one per physical core, but no more than the quota.
    public let processorAllowance: String
    /// Bytes of physical memory.
    public let physicalMemory: UInt64

    /// Asks the machine.
    ///
    /// ```swift
    /// let system = try SystemInformation(threads: 2)
    /// ```
    /// - Parameter threads: as in ``LoadOptions/threads``.
    /// - Throws: `FastVLMError` of kind `system` when `FASTVLM_ISA` names what is not there or the system starts fewer
    ///   threads than asked for, of kind `request` when their number is out of range.
    public init(threads: Int? = nil) throws {
        do {
            try LoadOptions.check(threads: threads)
            let compute = try Compute(threads: threads)
            processor = Compute.processorDescription()
            instructionSet = compute.instructionSet.rawValue
            availableInstructionSets = InstructionSet.available.map(\.rawValue)
            self.threads = compute.threads
            let allowance = ProcessorAllowance.current()
            logicalProcessors = allowance.logicalProcessors
            physicalCores = allowance.physicalCores
            processorQuota = allowance.quota
            processorAllowance = "\(allowance)"
            physicalMemory = ProcessInfo.processInfo.physicalMemory
        } catch {
            throw FastVLMError.translating(error)
        }
    }

    /// Makes sure that the process may open the few files that computing needs besides images and weights. Without them
    /// the program would end in the middle; loading a model asks by itself.
    ///
    /// ```swift
    /// try SystemInformation.checkLimits()
    /// ```
    /// - Throws: `FastVLMError` of kind `system`.
    public static func checkLimits() throws {
        do {
            try requireFiles()
        } catch {
            throw FastVLMError.translating(error)
        }
    }
}
