"""Names of objectives in configuration files."""


def make(config: dict):
    name = config["objective"]
    if name == "labels":
        from recipe.labels import Labels

        return Labels(config)
    if name == "answers":
        from recipe.answers import Answers

        return Answers(config)
    if name == "contrastive":
        from recipe.contrastive import Contrastive

        return Contrastive(config)
    raise ValueError(f'objective is "{name}", expected labels, answers or contrastive')
