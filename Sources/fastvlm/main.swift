import FastVLM
print("fastvlm")
