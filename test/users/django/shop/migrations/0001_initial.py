from django.db import migrations, models

CONFIG = """{
    "plans": {"free": {"default": true}, "pro": {}},
    "features": {"export": {"limit": {"free": 3, "pro": null}, "period": "30d"}},
    "settings": {"emailFrom": "Shop <hello@shop.example>", "upgradeUrl": "https://shop.example/pricing"}
}"""


class Migration(migrations.Migration):
    initial = True
    dependencies = []
    operations = [
        migrations.RunSQL("CREATE EXTENSION skene_gate", "DROP EXTENSION skene_gate"),
        migrations.RunSQL([("SELECT skene_apply(%s)", [CONFIG])], migrations.RunSQL.noop),
        migrations.CreateModel(
            "Customer",
            [
                ("id", models.BigAutoField(primary_key=True)),
                ("email", models.EmailField()),
            ],
        ),
        migrations.CreateModel(
            "Export",
            [
                ("id", models.BigAutoField(primary_key=True)),
                ("customer", models.ForeignKey("shop.Customer", models.CASCADE)),
            ],
        ),
    ]
